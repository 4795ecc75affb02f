// Packing between the caller's rows and the operand layouts of tiles.h: O(tokens * dim) copies.
#pragma once

#include "kernels/cpu/attention/tile_quad.inl.h"
#include "kernels/cpu/attention/tile_source.inl.h"
#include "kernels/cpu/attention/tiles.h"

namespace annulus::kernels::cpu {
namespace {

// Offset of (lane, row 0) in a lanes layout of `rows` rows.
template <class Isa>
ANNULUS_INLINE int64_t LaneOffset(int64_t lane, int64_t rows) {
  return lane / kLanes<Isa> * kLanes<Isa> * rows + lane % kLanes<Isa>;
}

// Whether the instruction set transposes squares of its own width; all others do four by four.
template <class Isa>
concept TransposesSquares = requires(typename Isa::Vec (&rows)[Isa::kWidth]) {
  Isa::Transpose(rows);
};

// Packs words [word, ...) of the lanes' rows in whole squares; the word after the last of them.
// Requires kSize rows from `lane` on.
template <class Isa, class Source>
ANNULUS_INLINE int64_t PackSquares(const Source& source, int64_t lane, int64_t whole, float* to) {
  constexpr int kSize = Isa::kWidth;
  int64_t w = 0;
  for (; w + kSize <= whole; w += kSize) {
    typename Isa::Vec r[kSize];
    ANNULUS_UNROLL_ALL
    for (int i = 0; i < kSize; ++i) r[i] = source.template Vector<Isa>(lane + i, w);
    Isa::Transpose(r);
    ANNULUS_UNROLL_ALL
    for (int i = 0; i < kSize; ++i) Isa::Store(to + (w + i) * kLanes<Isa>, r[i]);
  }
  return w;
}

// Packs words [w, words) of up to four lanes' rows, `whole` of which are whole. Lanes of absent
// queries are zero.
template <class Isa, class Source>
ANNULUS_INLINE void PackQuads(const Source& source, int64_t lane, int64_t w, int64_t whole,
                              float* to) {
  if (lane + 4 <= source.count) {
    for (; w + 4 <= whole; w += 4) {
      Quad r[4];
      ANNULUS_UNROLL
      for (int i = 0; i < 4; ++i) r[i] = source.Four(lane + i, w);
      Transpose(r);
      ANNULUS_UNROLL
      for (int i = 0; i < 4; ++i) StoreQuad(to + (w + i) * kLanes<Isa>, r[i]);
    }
  }
  for (; w < DimWords<Isa>(source.dim); ++w) {
    for (int64_t i = 0; i < 4; ++i) {
      to[w * kLanes<Isa> + i] = lane + i < source.count ? source.One(lane + i, w) : 0.0f;
    }
  }
}

template <class Isa>
void PackLanes(const Rows& from, float* lanes) {
  constexpr int64_t kGroup = TransposesSquares<Isa> ? Isa::kWidth : 4;
  WithSource<Isa>(from, [&](auto source) {
    const int64_t whole = from.dim / source.kPerWord;
    for (int64_t group = 0; group < kStripQueries; group += kGroup) {
      int64_t packed = 0;
      if constexpr (TransposesSquares<Isa>) {
        float* to = lanes + LaneOffset<Isa>(group, DimWords<Isa>(from.dim));
        if (group + kGroup <= from.count) packed = PackSquares<Isa>(source, group, whole, to);
      }
      for (int64_t lane = group; lane < group + kGroup; lane += 4) {
        float* to = lanes + LaneOffset<Isa>(lane, DimWords<Isa>(from.dim));
        PackQuads<Isa>(source, lane, packed, whole, to);
      }
    }
  });
}

// Unpacks columns [0, ...) of kWidth rows from `row` on in whole squares; the column after them.
template <class Isa>
ANNULUS_INLINE int64_t UnpackSquares(const float* lanes, const float* factor, const MutableRows& to,
                                     float* row) {
  constexpr int kSize = Isa::kWidth;
  const typename Isa::Vec scale = Isa::Load(factor);
  int64_t d = 0;
  for (; d + kSize <= to.dim; d += kSize) {
    typename Isa::Vec r[kSize];
    ANNULUS_UNROLL_ALL
    for (int i = 0; i < kSize; ++i)
      r[i] = Isa::Mul(Isa::Load(lanes + (d + i) * kLanes<Isa>), scale);
    Isa::Transpose(r);
    ANNULUS_UNROLL_ALL
    for (int i = 0; i < kSize; ++i) Isa::Store(row + i * to.stride + d, r[i]);
  }
  return d;
}

template <class Isa, class E>
void UnpackLanesOf(const float* lanes, const float* factor, const MutableRows& to, E* data) {
  constexpr bool kSquares = TransposesSquares<Isa> && sizeof(E) == sizeof(float);
  int64_t unpacked = 0;
  for (int64_t lane = 0; lane < to.count; lane += 4) {
    const float* from = lanes + LaneOffset<Isa>(lane, PaddedDim(to.dim));
    E* row = data + lane * to.stride;
    const Quad scale = LoadQuad(factor + lane);
    if constexpr (kSquares) {
      if (lane % Isa::kWidth == 0) {
        unpacked =
            lane + Isa::kWidth <= to.count ? UnpackSquares<Isa>(from, factor + lane, to, row) : 0;
      }
    }
    int64_t d = unpacked;
    if (lane + 4 <= to.count) {
      for (; d + 4 <= to.dim; d += 4) {
        Quad r[4];
        ANNULUS_UNROLL
        for (int i = 0; i < 4; ++i) r[i] = LoadQuad(from + (d + i) * kLanes<Isa>) * scale;
        Transpose(r);
        ANNULUS_UNROLL
        for (int i = 0; i < 4; ++i) StoreQuad(row + i * to.stride + d, r[i]);
      }
    }
    for (; d < to.dim; ++d) {
      E narrow[4];
      StoreQuad(narrow, LoadQuad(from + d * kLanes<Isa>) * scale);
      for (int64_t i = 0; i < 4 && lane + i < to.count; ++i) row[i * to.stride + d] = narrow[i];
    }
  }
}

template <class Isa>
void UnpackLanes(const float* lanes, const float* factor, const MutableRows& to) {
  if (to.element == Element::kF32) {
    UnpackLanesOf<Isa>(lanes, factor, to, static_cast<float*>(to.data));
  } else {
    UnpackLanesOf<Isa>(lanes, factor, to, static_cast<uint16_t*>(to.data));
  }
}

// Rows past the last are zero up to the multiple that spans end at.
template <class Isa>
void PackRows(const Rows& from, float* rows) {
  WithSource<Isa>(from, [&](auto source) {
    const int64_t words = DimWords<Isa>(from.dim), whole = from.dim / source.kPerWord;
    for (int64_t r = 0; r < from.count; ++r, rows += words) {
      int64_t w = 0;
      for (; w + Isa::kWidth <= whole; w += Isa::kWidth) {
        Isa::Store(rows + w, source.template Vector<Isa>(r, w));
      }
      for (; w < words; ++w) rows[w] = source.One(r, w);
    }
    for (int64_t r = from.count; r % Isa::kKeyMultiple != 0; ++r, rows += words) {
      for (int64_t w = 0; w < words; ++w) rows[w] = 0.0f;
    }
  });
}

// Where the table sums over keys in words of `kPerWord`, row w of a panel holds that many keys.
// A few keys at a time go to all panels, so that each of their cache lines is read once: rows lie
// a power of two apart, and those of a whole tile would not stay in the first level together.
template <class Isa>
void PackPanels(const Rows& from, float* panels, int64_t tile_keys, int64_t first_key) {
  constexpr int64_t kTogether = 16;
  WithSource<Isa>(from, [&](auto source) {
    constexpr int64_t kPerWord = decltype(source)::kPerWord;
    for (int64_t first = 0; first < from.count; first += kTogether) {
      const int64_t end = first + kTogether < from.count ? first + kTogether : from.count;
      ForPanels(from.dim, [&](int64_t column, auto columns) {
        constexpr int M = decltype(columns)::value;
        float* to = panels + (column * tile_keys + (first_key + first) * M) / kPerWord;
        for (int64_t key = first; key < end; key += kPerWord, to += M) {
          source.template Across<M>(key, column, to);
        }
      });
    }
  });
}

// Columns past the dim are zero up to the width of a vector.
template <class Isa>
void PackAcross(const Rows& from, float* across, int64_t stride) {
  WithSource<Isa>(from, [&](auto source) {
    for (int64_t query = 0; query < from.count; query += source.kPerWord, across += stride) {
      int64_t d = 0;
      for (; d + 16 <= from.dim; d += 16) source.template Across<16>(query, d, across + d);
      for (; d < from.dim; ++d) source.template Across<1>(query, d, across + d);
      for (; d < PaddedDim(from.dim); ++d) across[d] = 0.0f;
    }
  });
}

}  // namespace
}  // namespace annulus::kernels::cpu
