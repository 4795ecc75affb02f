// One forward tile. Per (query, key) pair: 4 * dim FLOPs in the products and one exponential.
// Source: Dao 2023 (FlashAttention-2), the online softmax of Milakov & Gimelshein 2018.
#pragma once

#include "kernels/cpu/attention/tile_multiply.inl.h"
#include "kernels/cpu/attention/tiles.h"

namespace annulus::kernels::cpu {
namespace {

inline constexpr float kMinusInfinity = -__builtin_inff();
inline constexpr float kLog2E = 1.44269504088896340736f;

struct ScoreBlock {
  const float* k;  // [M][words]
  const float* q;  // [words][kLanes]
  int64_t words;
  float* scores;         // [M][kLanes]
  const uint64_t* bits;  // per key
  int64_t first_lane;    // of these lanes in the strip
};

// acc = the scores of M keys less `origin`, one of each lane. The sums begin at -origin, which
// saves a subtraction to each of them, and round as numbers of its size do.
template <class Isa, int M>
ANNULUS_INLINE void ScoresLess(const float* origin, const ScoreBlock& block,
                               typename Isa::Vec (&acc)[M][Isa::kVectors]) {
  ANNULUS_UNROLL
  for (int n = 0; n < Isa::kVectors; ++n) {
    acc[0][n] = Isa::Sub(Isa::Zero(), Isa::Load(origin + n * Isa::kWidth));
  }
  ANNULUS_UNROLL
  for (int m = 1; m < M; ++m) {
    ANNULUS_UNROLL
    for (int n = 0; n < Isa::kVectors; ++n) acc[m][n] = acc[0][n];
  }
  MultiplyAdd<Isa>(acc, {block.k, block.words, 1}, block.q, kLanes<Isa>, block.words);
}

template <class Isa, int M>
ANNULUS_INLINE void Scores(const ScoreBlock& block, typename Isa::Vec (&acc)[M][Isa::kVectors]) {
  ANNULUS_UNROLL
  for (int m = 0; m < M; ++m) {
    ANNULUS_UNROLL
    for (int n = 0; n < Isa::kVectors; ++n) acc[m][n] = Isa::Zero();
  }
  MultiplyAdd<Isa>(acc, {block.k, block.words, 1}, block.q, kLanes<Isa>, block.words);
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

// Stores vector n of M keys' probabilities where their words lie, [key words][kLanes].
template <class Isa, int M>
ANNULUS_INLINE void StoreAcrossKeys(const typename Isa::Vec (&p)[M][Isa::kVectors], int n,
                                    float* words) {
  ANNULUS_UNROLL
  for (int m = 0; m < M; m += Isa::kPerWord) {
    float* to = words + m / Isa::kPerWord * kLanes<Isa> + n * Isa::kWidth;
    if constexpr (Isa::kPerWord == 1) {
      Isa::Store(to, p[m][n]);
    } else {
      Isa::StorePairs(to, p[m][n], m + 1 < M ? p[m + 1 < M ? m + 1 : m][n] : Isa::Zero());
    }
  }
}

// p = 2^((score - reference) * scale), the scale in units of log2. The difference comes first: it
// is exact near the reference, so that logits of any size cost no accuracy, and exactly 0 for the
// score that is the reference. A fused scale * score - scale * reference is off by half a unit in
// the last place of the product, which for logits in the billions is past the range of exp.
template <class Isa>
ANNULUS_INLINE typename Isa::Vec Probability(typename Isa::Vec score, typename Isa::Vec scale,
                                             typename Isa::Vec reference) {
  return Isa::Exp2(Isa::Mul(Isa::Sub(score, reference), scale));
}

// Probabilities of M keys straight from the accumulators, about the reference as it stands; adds
// them to `sum`. A forbidden pair gets 0. Where kNear, the scores' sums begin at the reference.
template <class Isa, int M, bool kMasked, bool kNear>
ANNULUS_NOINLINE void DirectProbabilities(const ScoreBlock& block, float scale, const float* origin,
                                          float* sum) {
  using Vec = typename Isa::Vec;
  Vec acc[M][Isa::kVectors];
  if constexpr (kNear) {
    ScoresLess<Isa>(origin, block, acc);
  } else {
    Scores<Isa>(block, acc);
  }
  const Vec factor = Isa::Set(scale);
  ANNULUS_UNROLL
  for (int n = 0; n < Isa::kVectors; ++n) {
    const int64_t lane = n * Isa::kWidth;
    const Vec reference = kNear ? Isa::Zero() : Isa::Load(origin + lane);
    Vec total = Isa::Load(sum + lane);
    ANNULUS_UNROLL
    for (int m = 0; m < M; ++m) {
      Vec p = kNear ? Isa::Exp2(Isa::Mul(acc[m][n], factor))
                    : Probability<Isa>(acc[m][n], factor, reference);
      if constexpr (kMasked) {
        p = Isa::Select(block.bits[m] >> (block.first_lane + lane), p, Isa::Zero());
      }
      total = Isa::Add(total, p);
      acc[m][n] = p;
    }
    StoreAcrossKeys<Isa, M>(acc, n, block.scores);
    Isa::Store(sum + lane, total);
  }
}

// Scores become probabilities in place, as words that end no later than they did as scores; `sum`
// is theirs over the keys. Requires a multiple of kPerWord keys.
template <class Isa>
ANNULUS_NOINLINE void Exponentials(float* scores, int64_t keys, float scale, const float* origin,
                                   float* sum) {
  using Vec = typename Isa::Vec;
  constexpr int kKeys = Isa::kPerWord;
  const Vec factor = Isa::Set(scale);
  Vec reference[Isa::kVectors], total[Isa::kVectors];
  ANNULUS_UNROLL
  for (int n = 0; n < Isa::kVectors; ++n) {
    reference[n] = Isa::Load(origin + n * Isa::kWidth);
    total[n] = Isa::Zero();
  }
  float* words = scores;
  for (int64_t j = 0; j < keys; j += kKeys, scores += kKeys * kLanes<Isa>, words += kLanes<Isa>) {
    Vec p[kKeys][Isa::kVectors];
    ANNULUS_UNROLL
    for (int n = 0; n < Isa::kVectors; ++n) {
      ANNULUS_UNROLL
      for (int m = 0; m < kKeys; ++m) {
        const Vec score = Isa::Load(scores + m * kLanes<Isa> + n * Isa::kWidth);
        p[m][n] = Probability<Isa>(score, factor, reference[n]);
        total[n] = Isa::Add(total[n], p[m][n]);
      }
    }
    ANNULUS_UNROLL
    for (int n = 0; n < Isa::kVectors; ++n) StoreAcrossKeys<Isa, kKeys>(p, n, words);
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

template <class Isa>
ANNULUS_INLINE void Fill(float* lanes, float value) {
  for (int64_t i = 0; i < kLanes<Isa>; i += Isa::kWidth) Isa::Store(lanes + i, Isa::Set(value));
}

// A lane that has seen no key has the reference -inf and takes 0 as the origin of its exponentials,
// which then are 2^-inf = 0 and never NaN.
ANNULUS_INLINE float Origin(float reference) {
  return reference == kMinusInfinity ? 0.0f : reference;
}

// Moves the reference up to the new maximum.
template <class Isa>
ANNULUS_INLINE void MoveReference(float scale, float* reference, LaneScratch<Isa>* lane) {
  for (int64_t i = 0; i < kLanes<Isa>; ++i) {
    const float old = reference[i];
    reference[i] = old > lane->max[i] ? old : lane->max[i];
    lane->origin[i] = Origin(reference[i]);
    lane->decay[i] = (old - lane->origin[i]) * scale;
  }
  for (int64_t i = 0; i < kLanes<Isa>; i += Isa::kWidth) {
    Isa::Store(lane->decay + i, Isa::Exp2(Isa::Load(lane->decay + i)));
  }
}

// The keys of one fold against the lanes from `first_lane` on.
template <class Isa>
struct LaneFold {
  const ForwardTile& tile;
  int64_t first_lane;
  float scale;  // in units of log2
  float* reference;
  LaneScratch<Isa> lane;
  bool near;  // no lane's origin is far from 0

  ANNULUS_INLINE int64_t keys() const { return tile.keys.end - tile.keys.begin; }

  // Calls visit(block, Constant<M>) for consecutive groups of M keys, the first `count`. A key's
  // scores take kLanes / `per_word` floats of the scratch.
  template <class Visit>
  ANNULUS_INLINE void ForKeys(int64_t count, int64_t per_word, Visit visit) const {
    const int64_t begin = tile.keys.begin, words = DimWords<Isa>(tile.dim);
    ForRowGroups(0, count, [&](int64_t j, auto rows) {
      visit(
          ScoreBlock{tile.k + (begin + j) * words, tile.q + first_lane * words, words,
                     tile.probabilities + j * kLanes<Isa> / per_word,
                     tile.keys.bits == nullptr ? nullptr : tile.keys.bits + begin + j, first_lane},
          rows);
    });
  }
};

// How the products of a fold are made, in registers. Every other way has the same four members.
template <class Isa>
struct RegisterProducts {
  // Probabilities about lane.origin, and their sums added to lane.sum.
  template <bool kMasked>
  static ANNULUS_INLINE void Probabilities(LaneFold<Isa>* fold) {
    if (fold->near) {
      ProbabilitiesAbout<kMasked, true>(fold);
    } else {
      ProbabilitiesAbout<kMasked, false>(fold);
    }
  }
  template <bool kMasked, bool kNear>
  static ANNULUS_INLINE void ProbabilitiesAbout(LaneFold<Isa>* fold) {
    fold->ForKeys(fold->keys(), Isa::kPerWord, [&](const ScoreBlock& block, auto rows) {
      DirectProbabilities<Isa, decltype(rows)::value, kMasked, kNear>(
          block, fold->scale, fold->lane.origin, fold->lane.sum);
    });
  }

  // Raw scores of the first `count` keys, [count][kLanes], -inf where the mask forbids, and
  // lane.max raised to their maximum.
  template <bool kMasked>
  static ANNULUS_INLINE void RawScores(LaneFold<Isa>* fold, int64_t count) {
    fold->ForKeys(count, 1, [&](const ScoreBlock& block, auto rows) {
      MaskedScores<Isa, decltype(rows)::value, kMasked>(block, fold->lane.max);
    });
  }
  // Enough of them to guess a reference from.
  static constexpr int64_t kFewKeys = kRows;

  // out = out * lane.decay + V^T P^T, the factor only if kScaled.
  template <bool kScaled>
  static ANNULUS_INLINE void AccumulateOut(const LaneFold<Isa>& fold) {
    const ForwardTile& tile = fold.tile;
    const KeySpan& keys = tile.keys;
    ForPanels(tile.dim, [&](int64_t d, auto columns) {
      constexpr int M = decltype(columns)::value;
      AccumulatePanel<Isa, M, kScaled>(
          {tile.v + d * keys.tile_keys / Isa::kPerWord + keys.begin / Isa::kPerWord * M,
           tile.probabilities, fold.keys() / Isa::kPerWord, fold.lane.decay,
           tile.out + fold.first_lane * PaddedDim(tile.dim) + d * kLanes<Isa>});
    });
  }
};

// A sum of probabilities past this says that the reference was far too low: beyond it they are
// taken again about a new one. Any power of two far below the largest float would do.
inline constexpr float kLargestSum = 65536.0f;

// A reference whose logit, in units of log2, is past this would cost probabilities the accuracy of
// its last place if sums began at it: then the difference is taken afterwards, when it is exact.
inline constexpr float kNearLogit = 16.0f;

// Gives lanes that have seen no key the maximum of a few keys for a reference; whether any lane has
// one then. Most often it is near enough to the maximum of them all.
template <class Isa, class Products, bool kMasked>
ANNULUS_INLINE bool GuessReference(LaneFold<Isa>* fold) {
  LaneScratch<Isa>& lane = fold->lane;
  const auto any = [&] {
    int some = 0;  // no bool and no early end: compilers keep such loops in vectors
    for (int64_t i = 0; i < kLanes<Isa>; ++i) some |= fold->reference[i] != kMinusInfinity ? 1 : 0;
    return some != 0;
  };
  if (any()) return true;
  if (fold->keys() < Products::kFewKeys) return false;
  Fill<Isa>(lane.max, kMinusInfinity);
  Products::template RawScores<kMasked>(fold, Products::kFewKeys);
  for (int64_t i = 0; i < kLanes<Isa>; ++i) fold->reference[i] = lane.max[i];
  return any();
}

// The probabilities about the reference as it stands, one pass and no maximum; false where that
// will not do: a lane's first key, or a sum out of range. NaN is out of range.
template <class Isa, class Products, bool kMasked>
ANNULUS_INLINE bool FoldAboutReference(LaneFold<Isa>* fold) {
  if (!GuessReference<Isa, Products, kMasked>(fold)) return false;
  LaneScratch<Isa>& lane = fold->lane;
  int far = 0;
  for (int64_t i = 0; i < kLanes<Isa>; ++i) {
    lane.origin[i] = Origin(fold->reference[i]);
    const float logit = lane.origin[i] * fold->scale;
    far |= -kNearLogit <= logit && logit <= kNearLogit ? 0 : 1;
  }
  fold->near = far == 0;
  Fill<Isa>(lane.sum, 0.0f);
  Products::template Probabilities<kMasked>(fold);
  int out_of_range = 0;
  for (int64_t i = 0; i < kLanes<Isa>; ++i) {
    const float largest = fold->reference[i] == kMinusInfinity ? 0.0f : kLargestSum;
    out_of_range |= lane.sum[i] <= largest ? 0 : 1;
  }
  return out_of_range == 0;
}

template <class Isa, class Products, bool kMasked>
ANNULUS_INLINE void FoldAboutMaximum(LaneFold<Isa>* fold) {
  LaneScratch<Isa>& lane = fold->lane;
  Fill<Isa>(lane.max, kMinusInfinity);
  Products::template RawScores<kMasked>(fold, fold->keys());
  MoveReference(fold->scale, fold->reference, &lane);
  Exponentials<Isa>(fold->tile.probabilities, fold->keys(), fold->scale, lane.origin, lane.sum);
}

template <class Isa, class Products, bool kMasked>
ANNULUS_INLINE void FoldLanes(const ForwardTile& tile, int64_t first_lane) {
  LaneFold<Isa> fold{tile, first_lane, tile.scale * kLog2E, tile.reference + first_lane, {}, false};
  const bool moves = !FoldAboutReference<Isa, Products, kMasked>(&fold);
  if (moves) FoldAboutMaximum<Isa, Products, kMasked>(&fold);
  const LaneScratch<Isa>& lane = fold.lane;
  float* sum = tile.sum + first_lane;
  if (moves) {
    for (int64_t i = 0; i < kLanes<Isa>; ++i) sum[i] = sum[i] * lane.decay[i] + lane.sum[i];
    Products::template AccumulateOut<true>(fold);
  } else {
    for (int64_t i = 0; i < kLanes<Isa>; ++i) sum[i] += lane.sum[i];
    Products::template AccumulateOut<false>(fold);
  }
}

template <class Isa, class Products = RegisterProducts<Isa>>
void Fold(const ForwardTile& tile) {
  for (int64_t lane = 0; lane < tile.queries; lane += kLanes<Isa>) {
    if (tile.keys.bits != nullptr) {
      FoldLanes<Isa, Products, true>(tile, lane);
    } else {
      FoldLanes<Isa, Products, false>(tile, lane);
    }
  }
}

}  // namespace
}  // namespace annulus::kernels::cpu
