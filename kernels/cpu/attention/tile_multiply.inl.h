// The one micro-kernel of fused attention: up to 6 rows x kVectors vectors held in registers.
//
// Included only by the translation unit of one instruction set, which defines the trait `Isa`:
//   Vec, kWidth (32-bit words of a Vec), kVectors (of a strip's row in registers), and on them
//   Zero, Set, Load (of f32, or widening bf16 bits), Store (any alignment), Add, Sub, Mul, Max,
//   Fma(a, b, c) = a * b + c, Exp2, Select(bits, a, b): lane i of a
//   where bit i is set, else of b; kPerWord, kDimMultiple and kKeyMultiple: the elements of an
//   operand's word and what packed rows and spans are multiples of; Multiply(a, b, c) = c + the
//   products of the elements of a and b.
// Everything is in an anonymous namespace: no other unit may link to code with wide instructions.
#pragma once

#include <cstdint>

#if defined(__clang__)
#define ANNULUS_UNROLL _Pragma("unroll")
#define ANNULUS_UNROLL_ALL _Pragma("unroll")
#else
#define ANNULUS_UNROLL _Pragma("GCC unroll 8")
#define ANNULUS_UNROLL_ALL _Pragma("GCC unroll 16")
#endif
#define ANNULUS_INLINE inline __attribute__((always_inline))
#define ANNULUS_NOINLINE __attribute__((noinline))

namespace annulus::kernels::cpu {
namespace {

inline constexpr int kRows = 6;  // 6 x 4 accumulators, 4 operands and a broadcast fill 32 registers

// Queries that one pass of the micro-kernel keeps in lanes.
template <class Isa>
inline constexpr int64_t kLanes = Isa::kWidth* Isa::kVectors;

// 32-bit words of a packed row of `dim` elements.
template <class Isa>
ANNULUS_INLINE int64_t DimWords(int64_t dim) {
  constexpr int64_t kMultiple = Isa::kDimMultiple;
  return (dim + kMultiple - 1) / kMultiple * kMultiple / Isa::kPerWord;
}

// Rows of accumulators are padded to the widest vector of any instruction set.
ANNULUS_INLINE int64_t PaddedDim(int64_t dim) { return (dim + 15) / 16 * 16; }

template <int kValue>
struct Constant {
  static constexpr int value = kValue;
};

// Element (m, k) of the broadcast operand is data[m * row + k * step].
struct Broadcast {
  const float* data;
  int64_t row;
  int64_t step;
};

// acc[m][n] += sum over k < depth words of a(m, k) * vector n of b[k * b_step ...].
template <class Isa, int M, int N>
ANNULUS_INLINE void MultiplyAdd(typename Isa::Vec (&acc)[M][N], Broadcast a, const float* b,
                                int64_t b_step, int64_t depth) {
  for (int64_t k = 0; k < depth; ++k) {
    typename Isa::Vec row[N];
    ANNULUS_UNROLL
    for (int n = 0; n < N; ++n) row[n] = Isa::Load(b + n * Isa::kWidth);
    ANNULUS_UNROLL
    for (int m = 0; m < M; ++m) {
      const typename Isa::Vec factor = Isa::Set(a.data[m * a.row]);
      ANNULUS_UNROLL
      for (int n = 0; n < N; ++n) acc[m][n] = Isa::Multiply(factor, row[n], acc[m][n]);
    }
    a.data += a.step;
    b += b_step;
  }
}

// Calls visit(row, Constant<M>) for consecutive groups of M <= kRows rows that cover [begin, end).
template <class Visit>
ANNULUS_INLINE void ForRowGroups(int64_t begin, int64_t end, Visit visit) {
  for (; begin + kRows <= end; begin += kRows) visit(begin, Constant<kRows>{});
  switch (end - begin) {
    case 5:
      return visit(begin, Constant<5>{});
    case 4:
      return visit(begin, Constant<4>{});
    case 3:
      return visit(begin, Constant<3>{});
    case 2:
      return visit(begin, Constant<2>{});
    case 1:
      return visit(begin, Constant<1>{});
    default:
      return;
  }
}

// Columns of a panel where `left` columns remain. Groups of fewer than 4 keep too few accumulators
// in flight, so 7 and 8 are split evenly.
ANNULUS_INLINE int64_t PanelColumns(int64_t left) {
  if (left == 7 || left == 8) return 4;
  return left < kRows ? left : kRows;
}

// Calls visit(column, Constant<M>) for the panels of `dim` columns.
template <class Visit>
ANNULUS_INLINE void ForPanels(int64_t dim, Visit visit) {
  int64_t column = 0;
  while (dim - column >= kRows && PanelColumns(dim - column) == kRows) {
    visit(column, Constant<kRows>{});
    column += kRows;
  }
  if (dim - column > kRows) {
    visit(column, Constant<4>{});
    column += 4;
  }
  ForRowGroups(column, dim, visit);
}

// Where a panel product reads and writes; see AccumulatePanel.
struct PanelProduct {
  const float* panel;  // [depth][M]
  const float* b;      // [depth][kLanes]
  int64_t depth;
  const float* scale;  // [kLanes]
  float* c;            // [M][kLanes]
};

// c = c * scale + panel^T b, the scale per lane and only if kScaled.
template <class Isa, int M, bool kScaled>
ANNULUS_NOINLINE void AccumulatePanel(const PanelProduct& p) {
  constexpr int N = Isa::kVectors;
  typename Isa::Vec acc[M][N];
  ANNULUS_UNROLL
  for (int m = 0; m < M; ++m) {
    ANNULUS_UNROLL
    for (int n = 0; n < N; ++n) {
      acc[m][n] = Isa::Load(p.c + m * kLanes<Isa> + n * Isa::kWidth);
      if constexpr (kScaled) {
        acc[m][n] = Isa::Mul(acc[m][n], Isa::Load(p.scale + n * Isa::kWidth));
      }
    }
  }
  MultiplyAdd<Isa>(acc, {p.panel, 1, M}, p.b, kLanes<Isa>, p.depth);
  ANNULUS_UNROLL
  for (int m = 0; m < M; ++m) {
    ANNULUS_UNROLL
    for (int n = 0; n < N; ++n) {
      Isa::Store(p.c + m * kLanes<Isa> + n * Isa::kWidth, acc[m][n]);
    }
  }
}

}  // namespace
}  // namespace annulus::kernels::cpu
