// Matrix products on AMX: tiles of 16 rows of 16 words, bf16 pairs in, f32 out.
//
// A product c [16,16] += a [16][words] * b [words][16 columns] takes `a` as rows of words and `b`
// as rows of words too, one word of every column to a row: just what lies along rows and what lies
// across them (tiles.h). Products are made two by two: tiles 0 to 3 are c, 4 and 5 the rows of a,
// 6 and 7 the columns of b. Intrinsics order neither loads nor stores around them, so whoever
// writes memory that a product reads calls Fence() in between.
#pragma once

#include <immintrin.h>

#include "kernels/cpu/attention/tile_multiply.inl.h"

namespace annulus::kernels::cpu {
namespace {

inline constexpr int64_t kTileRows = 16;
inline constexpr int64_t kTileWords = 16;

ANNULUS_INLINE void Fence() { __asm__ volatile("" ::: "memory"); }

// All eight tiles 16 rows of 64 bytes, for as long as this lives.
class TileConfiguration {
 public:
  TileConfiguration() {
    alignas(64) Layout layout{};
    layout.palette = 1;
    for (int i = 0; i < 8; ++i) {
      layout.row_bytes[i] = 64;
      layout.rows[i] = kTileRows;
    }
    Fence();
    _tile_loadconfig(&layout);
  }
  ~TileConfiguration() { _tile_release(); }
  TileConfiguration(const TileConfiguration&) = delete;
  TileConfiguration& operator=(const TileConfiguration&) = delete;

 private:
  struct Layout {
    uint8_t palette;
    uint8_t start_row;
    uint8_t reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
  };
  static_assert(sizeof(Layout) == 64);
};

// Where a matrix of words or floats begins and how far apart its rows are, in elements of 4 bytes.
struct Matrix {
  const float* data;
  int64_t stride;
};
struct MutableMatrix {
  float* data;
  int64_t stride;
};

ANNULUS_INLINE void ZeroProducts() {
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
}

// kRows x kColumns tiles of c, either of them 1 or 2.
template <int kRows, int kColumns>
ANNULUS_INLINE void LoadProducts(const MutableMatrix& c) {
  const int64_t bytes = c.stride * 4;
  float* below = c.data + kTileRows * c.stride;
  _tile_loadd(0, c.data, bytes);
  if constexpr (kColumns == 2) _tile_loadd(1, c.data + kTileWords, bytes);
  if constexpr (kRows == 2) _tile_loadd(2, below, bytes);
  if constexpr (kRows == 2 && kColumns == 2) _tile_loadd(3, below + kTileWords, bytes);
}

template <int kRows, int kColumns>
ANNULUS_INLINE void StoreProducts(const MutableMatrix& c) {
  const int64_t bytes = c.stride * 4;
  float* below = c.data + kTileRows * c.stride;
  _tile_stored(0, c.data, bytes);
  if constexpr (kColumns == 2) _tile_stored(1, c.data + kTileWords, bytes);
  if constexpr (kRows == 2) _tile_stored(2, below, bytes);
  if constexpr (kRows == 2 && kColumns == 2) _tile_stored(3, below + kTileWords, bytes);
}

// One step of 16 words.
template <int kRows, int kColumns>
ANNULUS_INLINE void MultiplyTiles(const Matrix& a, const Matrix& b) {
  _tile_loadd(4, a.data, a.stride * 4);
  _tile_loadd(6, b.data, b.stride * 4);
  _tile_dpbf16ps(0, 4, 6);
  if constexpr (kColumns == 2) {
    _tile_loadd(7, b.data + kTileWords, b.stride * 4);
    _tile_dpbf16ps(1, 4, 7);
  }
  if constexpr (kRows == 2) {
    _tile_loadd(5, a.data + kTileRows * a.stride, a.stride * 4);
    _tile_dpbf16ps(2, 5, 6);
    if constexpr (kColumns == 2) _tile_dpbf16ps(3, 5, 7);
  }
}

struct TileProduct {
  Matrix a;  // [kRows * 16][words]
  Matrix b;  // [words][kColumns * 16]
  int64_t words;
  MutableMatrix c;
};

// c += a b.
template <int kRows, int kColumns>
ANNULUS_INLINE void Accumulate(const TileProduct& p) {
  LoadProducts<kRows, kColumns>(p.c);
  for (int64_t w = 0; w < p.words; w += kTileWords) {
    MultiplyTiles<kRows, kColumns>({p.a.data + w, p.a.stride},
                                   {p.b.data + w * p.b.stride, p.b.stride});
  }
  StoreProducts<kRows, kColumns>(p.c);
}

// c [rows, columns] += a b; both multiples of 16, of words too.
ANNULUS_INLINE void AccumulateAll(const TileProduct& p, int64_t rows, int64_t columns) {
  for (int64_t column = 0; column < columns; column += 2 * kTileWords) {
    for (int64_t row = 0; row < rows; row += 2 * kTileRows) {
      const TileProduct part{{p.a.data + row * p.a.stride, p.a.stride},
                             {p.b.data + column, p.b.stride},
                             p.words,
                             {p.c.data + row * p.c.stride + column, p.c.stride}};
      const bool two_rows = row + kTileRows < rows, two_columns = column + kTileWords < columns;
      if (two_rows && two_columns) Accumulate<2, 2>(part);
      if (two_rows && !two_columns) Accumulate<2, 1>(part);
      if (!two_rows && two_columns) Accumulate<1, 2>(part);
      if (!two_rows && !two_columns) Accumulate<1, 1>(part);
    }
  }
}

}  // namespace
}  // namespace annulus::kernels::cpu
