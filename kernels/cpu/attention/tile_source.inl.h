// A caller's rows, read in the 32-bit words that a table's operands are made of.
//
// Along a row: One and Four give words of the row's own elements, zero past its end. Across rows:
// word d of rows r, r + 1, ... is made of their elements d, zero for rows past the last.
#pragma once

#include "kernels/cpu/attention/tile_quad.inl.h"
#include "kernels/cpu/attention/tiles.h"

namespace annulus::kernels::cpu {
namespace {

ANNULUS_INLINE float Widened(float x) { return x; }
ANNULUS_INLINE float Widened(uint16_t bf16) {
  return __builtin_bit_cast(float, static_cast<uint32_t>(bf16) << 16);
}

// One f32 to a word, from elements E.
template <class E>
struct WidenedSource {
  static constexpr int64_t kPerWord = 1;
  const E* data;
  int64_t stride, count, dim;

  ANNULUS_INLINE float One(int64_t row, int64_t word) const {
    return word < dim ? Widened(data[row * stride + word]) : 0.0f;
  }
  ANNULUS_INLINE Quad Four(int64_t row, int64_t word) const {
    return LoadQuad(data + row * stride + word);
  }
  template <class Isa>
  ANNULUS_INLINE typename Isa::Vec Vector(int64_t row, int64_t word) const {
    return Isa::Load(data + row * stride + word);
  }
  template <int kWords>
  ANNULUS_INLINE void Across(int64_t row, int64_t d, float* to) const {
    const E* from = data + row * stride + d;
    if constexpr (sizeof(E) == sizeof(float)) {
      __builtin_memcpy(to, from, sizeof(float) * kWords);
    } else {
      ANNULUS_UNROLL
      for (int i = 0; i < kWords; ++i) to[i] = Widened(from[i]);
    }
  }
};

// Two bf16 to a word, the first in its low half.
struct PairSource {
  static constexpr int64_t kPerWord = 2;
  const uint16_t* data;
  int64_t stride, count, dim;

  static ANNULUS_INLINE float Pair(uint16_t low, uint16_t high) {
    return __builtin_bit_cast(float, low | static_cast<uint32_t>(high) << 16);
  }
  ANNULUS_INLINE float One(int64_t row, int64_t word) const {
    const uint16_t* from = data + row * stride;
    const int64_t low = 2 * word, high = low + 1;
    return Pair(low < dim ? from[low] : uint16_t{0}, high < dim ? from[high] : uint16_t{0});
  }
  ANNULUS_INLINE Quad Four(int64_t row, int64_t word) const {
    Quad quad;
    __builtin_memcpy(&quad, data + row * stride + 2 * word, sizeof(quad));
    return quad;
  }
  template <class Isa>
  ANNULUS_INLINE typename Isa::Vec Vector(int64_t row, int64_t word) const {
    typename Isa::Vec vector;
    __builtin_memcpy(&vector, data + row * stride + 2 * word, sizeof(vector));
    return vector;
  }
  template <int kWords>
  ANNULUS_INLINE void Across(int64_t row, int64_t d, float* to) const {
    const uint16_t* low = data + row * stride + d;
    if (row + 1 < count) {
      const uint16_t* high = low + stride;
      for (int i = 0; i < kWords; ++i) to[i] = Pair(low[i], high[i]);
    } else {
      for (int i = 0; i < kWords; ++i) to[i] = Pair(low[i], 0);
    }
  }
};

// Calls visit(source) with the rows as the operands of `Isa` take them.
template <class Isa, class Visit>
ANNULUS_INLINE void WithSource(const Rows& rows, Visit visit) {
  const auto* halves = static_cast<const uint16_t*>(rows.data);
  if constexpr (Isa::kPerWord == 2) {
    visit(PairSource{halves, rows.stride, rows.count, rows.dim});
  } else if (rows.element == Element::kF32) {
    visit(WidenedSource<float>{static_cast<const float*>(rows.data), rows.stride, rows.count,
                               rows.dim});
  } else {
    visit(WidenedSource<uint16_t>{halves, rows.stride, rows.count, rows.dim});
  }
}

}  // namespace
}  // namespace annulus::kernels::cpu
