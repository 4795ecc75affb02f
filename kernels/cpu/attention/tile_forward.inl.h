// One forward tile. Per (query, key) pair: 4 * dim FLOPs in the products and one exponential.
// Source: Dao 2023 (FlashAttention-2), the online softmax of Milakov & Gimelshein 2018.
#pragma once

#include "kernels/cpu/attention/tile_multiply.inl.h"
#include "kernels/cpu/attention/tiles.h"

namespace annulus::kernels::cpu {
namespace {

inline constexpr float kMinusInfinity = -__builtin_inff();
inline constexpr float kLog2E = 1.44269504088896340736f;

// e^x. Scores meet their reference in natural units, one rounding from the exact difference, so
// that logits of any size cost no accuracy; the factor log2(e) is applied to what is left.
template <class Isa>
ANNULUS_INLINE typename Isa::Vec Exp(typename Isa::Vec x) {
  return Isa::Exp2(Isa::Mul(x, Isa::Set(kLog2E)));
}

struct ScoreBlock {
  const float* k;  // [M][dim]
  const float* q;  // [dim][kLanes]
  int64_t dim;
  float* scores;         // [M][kLanes]
  const uint64_t* bits;  // per key
  int64_t first_lane;    // of these lanes in the strip
};

template <class Isa, int M>
ANNULUS_INLINE void Scores(const ScoreBlock& block, typename Isa::Vec (&acc)[M][Isa::kVectors]) {
  ANNULUS_UNROLL
  for (int m = 0; m < M; ++m) {
    ANNULUS_UNROLL
    for (int n = 0; n < Isa::kVectors; ++n) acc[m][n] = Isa::Zero();
  }
  MultiplyAdd<Isa>(acc, {block.k, block.dim, 1}, block.q, kLanes<Isa>, block.dim);
}

// Raw scores of M keys, -inf where the mask forbids, and their running maximum per query.
template <class Isa, int M, bool kMasked>
ANNULUS_NOINLINE void MaskedScores(const ScoreBlock& block, float* max) {
  typename Isa::Vec acc[M][Isa::kVectors];
  Scores<Isa>(block, acc);
  ANNULUS_UNROLL
  for (int n = 0; n < Isa::kVectors; ++n) {
    const int64_t lane = n * Isa::kWidth;
    typename Isa::Vec top = Isa::Load(max + lane);
    ANNULUS_UNROLL
    for (int m = 0; m < M; ++m) {
      if constexpr (kMasked) {
        acc[m][n] = Isa::Select(block.bits[m] >> (block.first_lane + lane), acc[m][n],
                                Isa::Set(kMinusInfinity));
      }
      top = Isa::Max(top, acc[m][n]);
      Isa::Store(block.scores + m * kLanes<Isa> + lane, acc[m][n]);
    }
    Isa::Store(max + lane, top);
  }
}

// scores = exp(scores * scale - reference) in place, and their sum over the keys.
template <class Isa>
ANNULUS_NOINLINE void Exponentials(float* scores, int64_t keys, float scale, const float* reference,
                                   float* sum) {
  using Vec = typename Isa::Vec;
  const Vec factor = Isa::Set(scale);
  Vec origin[Isa::kVectors], total[Isa::kVectors];
  ANNULUS_UNROLL
  for (int n = 0; n < Isa::kVectors; ++n) {
    origin[n] = Isa::Sub(Isa::Zero(), Isa::Load(reference + n * Isa::kWidth));
    total[n] = Isa::Zero();
  }
  for (int64_t j = 0; j < keys; ++j, scores += kLanes<Isa>) {
    ANNULUS_UNROLL
    for (int n = 0; n < Isa::kVectors; ++n) {
      float* at = scores + n * Isa::kWidth;
      const Vec p = Exp<Isa>(Isa::Fma(Isa::Load(at), factor, origin[n]));
      total[n] = Isa::Add(total[n], p);
      Isa::Store(at, p);
    }
  }
  ANNULUS_UNROLL
  for (int n = 0; n < Isa::kVectors; ++n) Isa::Store(sum + n * Isa::kWidth, total[n]);
}

// The per-lane vectors of one fold.
template <class Isa>
struct LaneScratch {
  alignas(64) float max[kLanes<Isa>];
  alignas(64) float origin[kLanes<Isa>];
  alignas(64) float decay[kLanes<Isa>];
  alignas(64) float sum[kLanes<Isa>];
};

// Moves the reference up to the new maximum. A lane that has seen no key keeps the reference -inf
// and takes 0 as the origin of its exponentials, which then are exp(-inf) = 0 and never NaN.
template <class Isa>
ANNULUS_INLINE void MoveReference(float scale, float* reference, LaneScratch<Isa>* lane) {
  using Vec = typename Isa::Vec;
  for (int64_t i = 0; i < kLanes<Isa>; i += Isa::kWidth) {
    const Vec old = Isa::Load(reference + i);
    const Vec top = Isa::Max(old, Isa::Mul(Isa::Load(lane->max + i), Isa::Set(scale)));
    const Vec origin = Isa::Finite(top);
    Isa::Store(reference + i, top);
    Isa::Store(lane->origin + i, origin);
    Isa::Store(lane->decay + i, Exp<Isa>(Isa::Sub(old, origin)));
  }
}

template <class Isa, bool kMasked>
ANNULUS_INLINE void FoldLanes(const ForwardTile& tile, int64_t first_lane) {
  const int64_t begin = tile.keys.begin, keys = tile.keys.end - begin;
  float* scores = tile.probabilities;
  LaneScratch<Isa> lane;
  for (int64_t i = 0; i < kLanes<Isa>; i += Isa::kWidth) {
    Isa::Store(lane.max + i, Isa::Set(kMinusInfinity));
  }
  ForRowGroups(0, keys, [&](int64_t j, auto rows) {
    const ScoreBlock block{tile.k + (begin + j) * tile.dim,
                           tile.q + first_lane * tile.dim,
                           tile.dim,
                           scores + j * kLanes<Isa>,
                           kMasked ? tile.keys.bits + begin + j : nullptr,
                           first_lane};
    MaskedScores<Isa, decltype(rows)::value, kMasked>(block, lane.max);
  });
  float* reference = tile.reference + first_lane;
  MoveReference(tile.scale, reference, &lane);
  Exponentials<Isa>(scores, keys, tile.scale, lane.origin, lane.sum);
  float* sum = tile.sum + first_lane;
  for (int64_t i = 0; i < kLanes<Isa>; i += Isa::kWidth) {
    Isa::Store(sum + i,
               Isa::Fma(Isa::Load(sum + i), Isa::Load(lane.decay + i), Isa::Load(lane.sum + i)));
  }
  ForPanels(tile.dim, [&](int64_t d, auto columns) {
    constexpr int M = decltype(columns)::value;
    AccumulatePanel<Isa, M, true>({tile.v + d * tile.keys.panel_rows + begin * M, scores, keys,
                                   lane.decay, tile.out + first_lane * tile.dim + d * kLanes<Isa>});
  });
}

template <class Isa>
void Fold(const ForwardTile& tile) {
  for (int64_t lane = 0; lane < tile.queries; lane += kLanes<Isa>) {
    if (tile.keys.bits != nullptr) {
      FoldLanes<Isa, true>(tile, lane);
    } else {
      FoldLanes<Isa, false>(tile, lane);
    }
  }
}

}  // namespace
}  // namespace annulus::kernels::cpu
