// One backward tile. Per (query, key) pair: 10 * dim FLOPs in five products and one exponential.
// Source: Dao 2023 (FlashAttention-2), algorithm 2.
#pragma once

#include "kernels/cpu/attention/tile_forward.inl.h"

namespace annulus::kernels::cpu {
namespace {

// P and dS = P * (dP - delta) of M keys. `block` makes S and stores P; `upstream` makes dP and
// stores dS. A forbidden pair, and every pair of a query with lse = +inf, gets exact zeros.
template <class Isa, int M, bool kMasked>
ANNULUS_NOINLINE void DifferentiateRows(const BackwardTile& tile, const ScoreBlock& block,
                                        const ScoreBlock& upstream) {
  using Vec = typename Isa::Vec;
  Vec acc[M][Isa::kVectors];
  Scores<Isa>(block, acc);
  ANNULUS_UNROLL
  for (int m = 0; m < M; ++m) {
    ANNULUS_UNROLL
    for (int n = 0; n < Isa::kVectors; ++n) {
      Isa::Store(block.scores + m * kLanes<Isa> + n * Isa::kWidth, acc[m][n]);
    }
  }
  Scores<Isa>(upstream, acc);
  const Vec scale = Isa::Set(tile.scale);
  ANNULUS_UNROLL
  for (int n = 0; n < Isa::kVectors; ++n) {
    const int64_t lane = block.first_lane + n * Isa::kWidth;
    const Vec origin = Isa::Sub(Isa::Zero(), Isa::Load(tile.lse + lane));
    const Vec delta = Isa::Load(tile.delta + lane);
    ANNULUS_UNROLL
    for (int m = 0; m < M; ++m) {
      const int64_t at = m * kLanes<Isa> + n * Isa::kWidth;
      Vec p = Exp<Isa>(Isa::Fma(Isa::Load(block.scores + at), scale, origin));
      if constexpr (kMasked) p = Isa::Select(block.bits[m] >> lane, p, Isa::Zero());
      Isa::Store(block.scores + at, p);
      Isa::Store(upstream.scores + at, Isa::Mul(p, Isa::Sub(acc[m][n], delta)));
    }
  }
}

// Where the lanes from `first_lane` on keep their [keys][kLanes] part of a [keys][64] scratch.
template <class Isa>
ANNULUS_INLINE float* LanePart(const BackwardTile& tile, float* scratch, int64_t first_lane) {
  return scratch + first_lane * (tile.keys.end - tile.keys.begin);
}

template <class Isa, bool kMasked>
ANNULUS_INLINE void DifferentiateLanes(const BackwardTile& tile, int64_t first_lane) {
  const int64_t begin = tile.keys.begin;
  float* p = LanePart<Isa>(tile, tile.probabilities, first_lane);
  float* ds = LanePart<Isa>(tile, tile.dscores, first_lane);
  ForRowGroups(0, tile.keys.end - begin, [&](int64_t j, auto rows) {
    const uint64_t* bits = kMasked ? tile.keys.bits + begin + j : nullptr;
    const int64_t row = (begin + j) * tile.dim, at = j * kLanes<Isa>;
    const int64_t lanes = first_lane * tile.dim;
    DifferentiateRows<Isa, decltype(rows)::value, kMasked>(
        tile, {tile.k + row, tile.q + lanes, tile.dim, p + at, bits, first_lane},
        {tile.v + row, tile.dout + lanes, tile.dim, ds + at, bits, first_lane});
  });
}

template <class Isa>
void Differentiate(const BackwardTile& tile) {
  for (int64_t lane = 0; lane < tile.queries; lane += kLanes<Isa>) {
    if (tile.keys.bits != nullptr) {
      DifferentiateLanes<Isa, true>(tile, lane);
    } else {
      DifferentiateLanes<Isa, false>(tile, lane);
    }
  }
}

template <class Isa>
void AccumulateDq(const BackwardTile& tile) {
  const int64_t begin = tile.keys.begin, keys = tile.keys.end - begin;
  for (int64_t lane = 0; lane < tile.queries; lane += kLanes<Isa>) {
    const float* ds = LanePart<Isa>(tile, tile.dscores, lane);
    ForPanels(tile.dim, [&](int64_t d, auto columns) {
      constexpr int M = decltype(columns)::value;
      AccumulatePanel<Isa, M, false>({tile.k_panels + d * tile.keys.panel_rows + begin * M, ds,
                                      keys, nullptr, tile.dq + lane * tile.dim + d * kLanes<Isa>});
    });
  }
}

// c [keys][N vectors] += x^T [keys][queries] * b [queries][N vectors].
struct KeyProduct {
  const float* x;  // scratch, per lane part [keys][kLanes]
  int64_t part_stride;
  const float* b;
  int64_t b_stride;
  int64_t queries;
  float* c;
  int64_t c_stride;
};

template <class Isa, int M, int N>
ANNULUS_NOINLINE void AccumulateKeys(const KeyProduct& p, int64_t key) {
  typename Isa::Vec acc[M][N];
  float* c = p.c + key * p.c_stride;
  ANNULUS_UNROLL
  for (int m = 0; m < M; ++m) {
    ANNULUS_UNROLL
    for (int n = 0; n < N; ++n) acc[m][n] = Isa::Load(c + m * p.c_stride + n * Isa::kWidth);
  }
  const float* x = p.x + key * kLanes<Isa>;
  const float* b = p.b;
  for (int64_t left = p.queries; left > 0; left -= kLanes<Isa>) {
    MultiplyAdd<Isa>(acc, {x, kLanes<Isa>, 1}, b, p.b_stride,
                     left < kLanes<Isa> ? left : kLanes<Isa>);
    x += p.part_stride;
    b += kLanes<Isa> * p.b_stride;
  }
  ANNULUS_UNROLL
  for (int m = 0; m < M; ++m) {
    ANNULUS_UNROLL
    for (int n = 0; n < N; ++n) Isa::Store(c + m * p.c_stride + n * Isa::kWidth, acc[m][n]);
  }
}

template <class Isa, int N>
ANNULUS_INLINE void AccumulateColumns(const KeyProduct& product, int64_t keys) {
  ForRowGroups(0, keys, [&](int64_t key, auto rows) {
    AccumulateKeys<Isa, decltype(rows)::value, N>(product, key);
  });
}

// Vectors of the next column chunk where `left` remain: at most kVectors, evenly split at the end.
template <class Isa>
ANNULUS_INLINE int64_t ChunkVectors(int64_t left) {
  if (left <= Isa::kVectors) return left;
  return left < 2 * Isa::kVectors ? (left + 1) / 2 : Isa::kVectors;
}

template <class Isa>
ANNULUS_INLINE void AccumulateGradient(const BackwardTile& tile, const float* x, const float* rows,
                                       float* gradient) {
  const int64_t keys = tile.keys.end - tile.keys.begin;
  const int64_t vectors = (tile.dim + Isa::kWidth - 1) / Isa::kWidth;
  for (int64_t v = 0; v < vectors;) {
    const int64_t count = ChunkVectors<Isa>(vectors - v), column = v * Isa::kWidth;
    const KeyProduct product{x,
                             keys * kLanes<Isa>,
                             rows + column,
                             tile.row_stride,
                             tile.queries,
                             gradient + tile.keys.begin * tile.gradient_stride + column,
                             tile.gradient_stride};
    if (count == 1) AccumulateColumns<Isa, 1>(product, keys);
    if (count == 2) AccumulateColumns<Isa, 2>(product, keys);
    if constexpr (Isa::kVectors == 4) {
      if (count == 3) AccumulateColumns<Isa, 3>(product, keys);
      if (count == 4) AccumulateColumns<Isa, 4>(product, keys);
    }
    v += count;
  }
}

template <class Isa>
void AccumulateDkv(const BackwardTile& tile) {
  AccumulateGradient<Isa>(tile, tile.probabilities, tile.dout_rows, tile.dv);
  AccumulateGradient<Isa>(tile, tile.dscores, tile.q_rows, tile.dk);
}

}  // namespace
}  // namespace annulus::kernels::cpu
