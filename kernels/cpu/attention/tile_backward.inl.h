// One backward tile. Per (query, key) pair: 10 * dim FLOPs in five products and one exponential.
// Source: Dao 2023 (FlashAttention-2), algorithm 2.
#pragma once

#include "kernels/cpu/attention/tile_forward.inl.h"

namespace annulus::kernels::cpu {
namespace {

// The scaled score is rounded as lse was, so that the only key of a query has a probability of
// exactly 1 however large its logit; see Probability.
template <class Isa>
ANNULUS_INLINE typename Isa::Vec RecomputedProbability(typename Isa::Vec score,
                                                       typename Isa::Vec scale,
                                                       typename Isa::Vec lse) {
  return Isa::Exp2(Isa::Mul(Isa::Sub(Isa::Mul(score, scale), lse), Isa::Set(kLog2E)));
}

// The scratch of one tile, for the lanes from `first_lane` on. Words of P and dS along a key's
// queries, for dV and dK; words of dS across keys, for dQ. On f32 operands the two are the same.
template <class Isa>
struct BackwardScratch {
  static constexpr int64_t kRowWords = kLanes<Isa> / Isa::kPerWord;
  float* p;          // [keys][kRowWords]
  float* ds;         // [keys][kRowWords]
  float* ds_across;  // [key words][kLanes]
};

template <class Isa>
ANNULUS_INLINE BackwardScratch<Isa> ScratchOf(const BackwardTile& tile, int64_t first_lane) {
  const int64_t keys = tile.keys.end - tile.keys.begin;
  float* p = tile.probabilities + first_lane * keys;
  float* ds = tile.dscores + first_lane * keys;
  if constexpr (Isa::kPerWord == 1) return {p, ds, ds};
  return {p, ds, ds + keys * BackwardScratch<Isa>::kRowWords};
}

// Stores M keys' values along their queries.
template <class Isa, int M>
ANNULUS_INLINE void StoreAlongQueries(const typename Isa::Vec (&values)[M][Isa::kVectors],
                                      float* words) {
  ANNULUS_UNROLL
  for (int m = 0; m < M; ++m) {
    ANNULUS_UNROLL
    for (int n = 0; n < Isa::kVectors; n += Isa::kPerWord) {
      float* to = words + m * BackwardScratch<Isa>::kRowWords + n / Isa::kPerWord * Isa::kWidth;
      if constexpr (Isa::kPerWord == 1) {
        Isa::Store(to, values[m][n]);
      } else {
        Isa::StoreNarrow(to, values[m][n], values[m][n + 1]);
      }
    }
  }
}

// The operands of M keys' scores S and of dP.
struct DifferentialBlock {
  ScoreBlock score;     // its `scores` are not used
  ScoreBlock upstream;  // likewise
};

// P and dS = P * (dP - delta) of M keys, stored at key j of `to`. A forbidden pair, and every pair
// of a query with lse = +inf, gets exact zeros.
template <class Isa, int M, bool kMasked>
ANNULUS_NOINLINE void DifferentiateRows(const BackwardTile& tile, const DifferentialBlock& block,
                                        const BackwardScratch<Isa>& to, int64_t j) {
  using Vec = typename Isa::Vec;
  Vec acc[M][Isa::kVectors];
  alignas(64) float scores[M * kLanes<Isa>];
  Scores<Isa>(block.score, acc);
  ANNULUS_UNROLL
  for (int m = 0; m < M; ++m) {
    ANNULUS_UNROLL
    for (int n = 0; n < Isa::kVectors; ++n) {
      Isa::Store(scores + m * kLanes<Isa> + n * Isa::kWidth, acc[m][n]);
    }
  }
  const float* delta = tile.delta + block.upstream.first_lane;
  ScoresLess<Isa>(delta, block.upstream, acc);
  const Vec scale = Isa::Set(tile.scale);
  ANNULUS_UNROLL
  for (int n = 0; n < Isa::kVectors; ++n) {
    const int64_t lane = block.score.first_lane + n * Isa::kWidth;
    const Vec lse = Isa::Load(tile.lse + lane);
    ANNULUS_UNROLL
    for (int m = 0; m < M; ++m) {
      float* score = scores + m * kLanes<Isa> + n * Isa::kWidth;
      Vec p = RecomputedProbability<Isa>(Isa::Load(score), scale, lse);
      if constexpr (kMasked) p = Isa::Select(block.score.bits[m] >> lane, p, Isa::Zero());
      Isa::Store(score, p);
      acc[m][n] = Isa::Mul(p, acc[m][n]);
    }
  }
  constexpr int64_t kRowWords = BackwardScratch<Isa>::kRowWords;
  StoreAlongQueries<Isa, M>(acc, to.ds + j * kRowWords);
  if constexpr (Isa::kPerWord > 1) {
    ANNULUS_UNROLL
    for (int n = 0; n < Isa::kVectors; ++n) {
      StoreAcrossKeys<Isa, M>(acc, n, to.ds_across + j / Isa::kPerWord * kLanes<Isa>);
    }
  }
  ANNULUS_UNROLL
  for (int m = 0; m < M; ++m) {
    ANNULUS_UNROLL
    for (int n = 0; n < Isa::kVectors; ++n) {
      acc[m][n] = Isa::Load(scores + m * kLanes<Isa> + n * Isa::kWidth);
    }
  }
  StoreAlongQueries<Isa, M>(acc, to.p + j * kRowWords);
}

template <class Isa, bool kMasked>
ANNULUS_INLINE void DifferentiateLanes(const BackwardTile& tile, int64_t first_lane) {
  const int64_t begin = tile.keys.begin, words = DimWords<Isa>(tile.dim);
  const BackwardScratch<Isa> to = ScratchOf<Isa>(tile, first_lane);
  ForRowGroups(0, tile.keys.end - begin, [&](int64_t j, auto rows) {
    const uint64_t* bits = kMasked ? tile.keys.bits + begin + j : nullptr;
    const int64_t row = (begin + j) * words, lanes = first_lane * words;
    DifferentiateRows<Isa, decltype(rows)::value, kMasked>(
        tile,
        {{tile.k + row, tile.q + lanes, words, nullptr, bits, first_lane},
         {tile.v + row, tile.dout + lanes, words, nullptr, bits, first_lane}},
        to, j);
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
  const KeySpan& keys = tile.keys;
  for (int64_t lane = 0; lane < tile.queries; lane += kLanes<Isa>) {
    const float* ds = ScratchOf<Isa>(tile, lane).ds_across;
    ForPanels(tile.dim, [&](int64_t d, auto columns) {
      constexpr int M = decltype(columns)::value;
      AccumulatePanel<Isa, M, false>(
          {tile.k_panels + d * keys.tile_keys / Isa::kPerWord + keys.begin / Isa::kPerWord * M, ds,
           (keys.end - keys.begin) / Isa::kPerWord, nullptr,
           tile.dq + lane * PaddedDim(tile.dim) + d * kLanes<Isa>});
    });
  }
}

// c [keys][N vectors] += x^T [keys][queries] * b [queries][N vectors].
struct KeyProduct {
  const float* x;  // per lane part [keys][row words]
  int64_t part_stride;
  const float* b;
  int64_t b_stride;
  int64_t queries;
  float* c;
  int64_t c_stride;
};

template <class Isa, int M, int N>
ANNULUS_NOINLINE void AccumulateKeys(const KeyProduct& p, int64_t key) {
  constexpr int64_t kRowWords = BackwardScratch<Isa>::kRowWords;
  typename Isa::Vec acc[M][N];
  float* c = p.c + key * p.c_stride;
  ANNULUS_UNROLL
  for (int m = 0; m < M; ++m) {
    ANNULUS_UNROLL
    for (int n = 0; n < N; ++n) acc[m][n] = Isa::Load(c + m * p.c_stride + n * Isa::kWidth);
  }
  const float* x = p.x + key * kRowWords;
  const float* b = p.b;
  for (int64_t left = (p.queries + Isa::kPerWord - 1) / Isa::kPerWord; left > 0;
       left -= kRowWords) {
    MultiplyAdd<Isa>(acc, {x, kRowWords, 1}, b, p.b_stride, left < kRowWords ? left : kRowWords);
    x += p.part_stride;
    b += kRowWords * p.b_stride;
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
ANNULUS_INLINE void AccumulateGradient(const BackwardTile& tile, const float* x,
                                       const float* across, float* gradient) {
  const int64_t keys = tile.keys.end - tile.keys.begin, stride = PaddedDim(tile.dim);
  const int64_t vectors = (tile.dim + Isa::kWidth - 1) / Isa::kWidth;
  for (int64_t v = 0; v < vectors;) {
    const int64_t count = ChunkVectors<Isa>(vectors - v), column = v * Isa::kWidth;
    const KeyProduct product{x,
                             keys * kLanes<Isa>,
                             across + column,
                             tile.across_stride,
                             tile.queries,
                             gradient + tile.keys.begin * stride + column,
                             stride};
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
  const BackwardScratch<Isa> scratch = ScratchOf<Isa>(tile, 0);
  AccumulateGradient<Isa>(tile, scratch.p, tile.dout_across, tile.dv);
  AccumulateGradient<Isa>(tile, scratch.ds, tile.q_across, tile.dk);
}

}  // namespace
}  // namespace annulus::kernels::cpu
