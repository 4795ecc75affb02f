// Packing between the caller's rows and the operand layouts of tiles.h: O(tokens * dim) copies.
#pragma once

#include <cstddef>

#include "kernels/cpu/attention/tile_multiply.inl.h"
#include "kernels/cpu/attention/tiles.h"

namespace annulus::kernels::cpu {
namespace {

// Four floats, by the vector extension of GCC and Clang: every CPU has them.
typedef float Quad __attribute__((vector_size(16)));
typedef uint32_t QuadBits __attribute__((vector_size(16)));
typedef uint16_t QuadHalves __attribute__((vector_size(8)));

ANNULUS_INLINE Quad LoadQuad(const float* from) {
  Quad quad;
  __builtin_memcpy(&quad, from, sizeof(quad));
  return quad;
}
ANNULUS_INLINE void StoreQuad(float* to, Quad quad) { __builtin_memcpy(to, &quad, sizeof(quad)); }

// bf16 as its bits. Loads are exact; stores round to nearest, ties to even, and keep a NaN one.
ANNULUS_INLINE Quad LoadQuad(const uint16_t* from) {
  QuadHalves halves;
  __builtin_memcpy(&halves, from, sizeof(halves));
  return reinterpret_cast<Quad>(__builtin_convertvector(halves, QuadBits) << 16);
}
ANNULUS_INLINE void StoreQuad(uint16_t* to, Quad quad) {
  const QuadBits bits = reinterpret_cast<QuadBits>(quad);
  const QuadBits rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  const QuadBits quiet = (bits >> 16) | 0x40;
  const QuadHalves halves = __builtin_convertvector(quad == quad ? rounded : quiet, QuadHalves);
  __builtin_memcpy(to, &halves, sizeof(halves));
}

ANNULUS_INLINE float Widened(float x) { return x; }
ANNULUS_INLINE float Widened(uint16_t bf16) {
  return __builtin_bit_cast(float, static_cast<uint32_t>(bf16) << 16);
}

ANNULUS_INLINE void Transpose(Quad (&r)[4]) {
  const Quad a = __builtin_shufflevector(r[0], r[1], 0, 4, 1, 5);
  const Quad b = __builtin_shufflevector(r[0], r[1], 2, 6, 3, 7);
  const Quad c = __builtin_shufflevector(r[2], r[3], 0, 4, 1, 5);
  const Quad d = __builtin_shufflevector(r[2], r[3], 2, 6, 3, 7);
  r[0] = __builtin_shufflevector(a, c, 0, 1, 4, 5);
  r[1] = __builtin_shufflevector(a, c, 2, 3, 6, 7);
  r[2] = __builtin_shufflevector(b, d, 0, 1, 4, 5);
  r[3] = __builtin_shufflevector(b, d, 2, 3, 6, 7);
}

// Offset of (lane, column 0) in the lanes layout.
template <class Isa>
ANNULUS_INLINE int64_t LaneOffset(int64_t lane, int64_t dim) {
  return lane / kLanes<Isa> * kLanes<Isa> * dim + lane % kLanes<Isa>;
}

// Lanes of absent queries are zero.
template <class Isa, class E>
void PackLanesOf(const E* data, const Rows& from, float* lanes) {
  for (int64_t lane = 0; lane < kStripQueries; lane += 4) {
    float* to = lanes + LaneOffset<Isa>(lane, from.dim);
    const E* row = data + lane * from.stride;
    int64_t d = 0;
    if (lane + 4 <= from.count) {
      for (; d + 4 <= from.dim; d += 4) {
        Quad r[4];
        ANNULUS_UNROLL
        for (int i = 0; i < 4; ++i) r[i] = LoadQuad(row + i * from.stride + d);
        Transpose(r);
        ANNULUS_UNROLL
        for (int i = 0; i < 4; ++i) StoreQuad(to + (d + i) * kLanes<Isa>, r[i]);
      }
    }
    for (; d < from.dim; ++d) {
      for (int64_t i = 0; i < 4; ++i) {
        const bool present = lane + i < from.count;
        to[d * kLanes<Isa> + i] = present ? Widened(row[i * from.stride + d]) : 0.0f;
      }
    }
  }
}

template <class Isa, class E>
void UnpackLanesOf(const float* lanes, const float* factor, const MutableRows& to, E* data) {
  for (int64_t lane = 0; lane < to.count; lane += 4) {
    const float* from = lanes + LaneOffset<Isa>(lane, to.dim);
    E* row = data + lane * to.stride;
    const Quad scale = LoadQuad(factor + lane);
    int64_t d = 0;
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

template <class E>
void PackRowsOf(const E* data, const Rows& from, float* rows, int64_t row_stride) {
  for (int64_t r = 0; r < from.count; ++r, rows += row_stride, data += from.stride) {
    int64_t d = 0;
    for (; d + 4 <= from.dim; d += 4) StoreQuad(rows + d, LoadQuad(data + d));
    for (; d < from.dim; ++d) rows[d] = Widened(data[d]);
    for (; d < row_stride; ++d) rows[d] = 0.0f;
  }
}

template <class E>
void PackPanelsOf(const E* data, const Rows& from, float* panels, int64_t panel_rows) {
  ForPanels(from.dim, [&](int64_t column, auto columns) {
    constexpr int M = decltype(columns)::value;
    const E* row = data + column;
    float* to = panels + column * panel_rows;
    for (int64_t r = 0; r < from.count; ++r, row += from.stride, to += M) {
      ANNULUS_UNROLL
      for (int i = 0; i < M; ++i) to[i] = Widened(row[i]);
    }
  });
}

// The above for the element type at hand.
template <class Isa>
void PackLanes(const Rows& from, float* lanes) {
  if (from.element == Element::kF32) {
    PackLanesOf<Isa>(static_cast<const float*>(from.data), from, lanes);
  } else {
    PackLanesOf<Isa>(static_cast<const uint16_t*>(from.data), from, lanes);
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

void PackRows(const Rows& from, float* rows, int64_t row_stride) {
  if (from.element == Element::kF32) {
    PackRowsOf(static_cast<const float*>(from.data), from, rows, row_stride);
  } else {
    PackRowsOf(static_cast<const uint16_t*>(from.data), from, rows, row_stride);
  }
}

void PackPanels(const Rows& from, float* panels, int64_t panel_rows) {
  if (from.element == Element::kF32) {
    PackPanelsOf(static_cast<const float*>(from.data), from, panels, panel_rows);
  } else {
    PackPanelsOf(static_cast<const uint16_t*>(from.data), from, panels, panel_rows);
  }
}

}  // namespace
}  // namespace annulus::kernels::cpu
