// Fused attention on AMX, bf16 operands. Compiled with -mavx512f -mavx512dq -mavx512bw
// -mavx512bf16 -mamx-tile -mamx-bf16.
//
// Scores come 32 keys at a time from tiles of 16 keys x 16 queries, through a few KiB of memory;
// vector instructions turn them into probabilities while the tiles work on the next 32 keys, a step
// of the product between every few rows. Products over keys run over a whole tile of keys.
#include "kernels/cpu/attention/tile_amx.inl.h"
#include "kernels/cpu/attention/tile_avx512_bf16.inl.h"
#include "kernels/cpu/attention/tile_kernels.inl.h"

namespace annulus::kernels::cpu {
namespace {

inline constexpr int64_t kBlockKeys = 2 * kTileRows;

struct Amx : Avx512Bf16 {
  static constexpr int kDimMultiple = 32;
  static constexpr int kKeyMultiple = 32;
};
using Vec = Amx::Vec;

// Scores of 32 keys with the 64 queries of a strip.
struct ScoreProduct {
  const float* rows;   // of the first key
  const float* lanes;  // [words][64]
  float* to;           // [32][64]
};

// Makes up to two such products, a step at a time.
class ScoreSteps {
 public:
  explicit ScoreSteps(int64_t words) : words_(words) {}

  void Add(const ScoreProduct& product) { products_[count_++] = product; }
  int64_t steps() const { return count_ * kHalves * words_ / kTileWords; }

  ANNULUS_INLINE void Step(int64_t step) const {
    const int64_t per_half = words_ / kTileWords, half = step / per_half;
    const int64_t word = step % per_half * kTileWords, lane = half % kHalves * 2 * kTileWords;
    const ScoreProduct& p = products_[half / kHalves];
    if (word == 0) ZeroProducts();
    MultiplyTiles<2, 2>({p.rows + word, words_},
                        {p.lanes + word * kStripQueries + lane, kStripQueries});
    if (word + kTileWords == words_) StoreProducts<2, 2>({p.to + lane, kStripQueries});
  }

  ANNULUS_INLINE void All() const {
    for (int64_t i = 0; i < steps(); ++i) Step(i);
  }

 private:
  static constexpr int64_t kHalves = 2;
  int64_t words_;
  int count_ = 0;
  ScoreProduct products_[2];
};

// Calls pair(r) for the pairs of keys 2 r, 2 r + 1 of a block, with the steps spread between them.
template <class Pair>
ANNULUS_INLINE void Interleave(const ScoreSteps& steps, Pair pair) {
  int64_t done = 0;
  for (int64_t r = 0; r < kBlockKeys / 2; ++r) {
    pair(r);
    Fence();
    for (; done * (kBlockKeys / 2) < (r + 1) * steps.steps(); ++done) steps.Step(done);
  }
}

struct AmxProducts {
  // The keys of block `block` of a fold.
  static ScoreProduct ScoresOf(const LaneFold<Amx>& fold, int64_t block, float* to) {
    const int64_t words = DimWords<Amx>(fold.tile.dim);
    return {fold.tile.k + (fold.tile.keys.begin + block * kBlockKeys) * words, fold.tile.q, to};
  }
  static int64_t Blocks(const LaneFold<Amx>& fold) {
    return (fold.tile.keys.end - fold.tile.keys.begin) / kBlockKeys;
  }

  template <bool kMasked>
  static void Probabilities(LaneFold<Amx>* fold) {
    alignas(64) float scores[2][kBlockKeys * kStripQueries];
    const int64_t blocks = Blocks(*fold), words = DimWords<Amx>(fold->tile.dim);
    const Vec factor = Amx::Set(fold->scale);
    ScoreSteps first(words);
    first.Add(ScoresOf(*fold, 0, scores[0]));
    first.All();
    for (int64_t b = 0; b < blocks; ++b) {
      ScoreSteps next(words);
      if (b + 1 < blocks) next.Add(ScoresOf(*fold, b + 1, scores[(b + 1) % 2]));
      const uint64_t* bits =
          kMasked ? fold->tile.keys.bits + fold->tile.keys.begin + b * kBlockKeys : nullptr;
      float* to = fold->tile.probabilities + b * kBlockKeys / 2 * kStripQueries;
      Interleave(next, [&](int64_t r) {
        PairOfKeys<kMasked>(fold, factor, scores[b % 2] + 2 * r * kStripQueries,
                            kMasked ? bits + 2 * r : nullptr, to + r * kStripQueries);
      });
    }
  }

  template <bool kMasked>
  static ANNULUS_INLINE void PairOfKeys(LaneFold<Amx>* fold, Vec factor, const float* scores,
                                        const uint64_t* bits, float* to) {
    Vec p[2][Amx::kVectors];
    ANNULUS_UNROLL
    for (int n = 0; n < Amx::kVectors; ++n) {
      const int64_t lane = n * Amx::kWidth;
      const Vec reference = Amx::Load(fold->lane.origin + lane);
      Vec total = Amx::Load(fold->lane.sum + lane);
      ANNULUS_UNROLL
      for (int m = 0; m < 2; ++m) {
        const Vec score = Amx::Load(scores + m * kStripQueries + lane);
        p[m][n] = Probability<Amx>(score, factor, reference);
        if constexpr (kMasked) p[m][n] = Amx::Select(bits[m] >> lane, p[m][n], Amx::Zero());
        total = Amx::Add(total, p[m][n]);
      }
      Amx::Store(fold->lane.sum + lane, total);
      StoreAcrossKeys<Amx, 2>(p, n, to);
    }
  }

  static constexpr int64_t kFewKeys = kBlockKeys;
  template <bool kMasked>
  static void RawScores(LaneFold<Amx>* fold, int64_t count) {
    float* scores = fold->tile.probabilities;
    for (int64_t b = 0; b < count / kBlockKeys; ++b) {
      ScoreSteps steps(DimWords<Amx>(fold->tile.dim));
      steps.Add(ScoresOf(*fold, b, scores + b * kBlockKeys * kStripQueries));
      steps.All();
    }
    const uint64_t* bits = kMasked ? fold->tile.keys.bits + fold->tile.keys.begin : nullptr;
    for (int64_t key = 0; key < count; ++key) {
      for (int64_t lane = 0; lane < kStripQueries; lane += Amx::kWidth) {
        float* at = scores + key * kStripQueries + lane;
        Vec score = Amx::Load(at);
        if constexpr (kMasked) {
          score = Amx::Select(bits[key] >> lane, score, Amx::Set(kMinusInfinity));
          Amx::Store(at, score);
        }
        float* max = fold->lane.max + lane;
        Amx::Store(max, Amx::Max(Amx::Load(max), score));
      }
    }
  }

  template <bool kScaled>
  static void AccumulateOut(const LaneFold<Amx>& fold) {
    const ForwardTile& tile = fold.tile;
    if constexpr (kScaled) {
      for (int64_t i = 0; i < PaddedDim(tile.dim) * kStripQueries; i += Amx::kWidth) {
        const Vec decay = Amx::Load(fold.lane.decay + i % kStripQueries);
        Amx::Store(tile.out + i, Amx::Mul(Amx::Load(tile.out + i), decay));
      }
    }
    AccumulatePanels(tile.keys, tile.v, tile.probabilities, {tile.dim, tile.out});
  }

  struct Panels {
    int64_t dim;
    float* lanes;  // [PaddedDim(dim)][64]
  };
  // lanes += panels [dim][key words] * x [key words][64].
  static void AccumulatePanels(const KeySpan& keys, const float* panels, const float* x,
                               const Panels& to) {
    Fence();
    const TileProduct product{{panels + keys.begin / 2, keys.tile_keys / 2},
                              {x, kStripQueries},
                              (keys.end - keys.begin) / 2,
                              {to.lanes, kStripQueries}};
    AccumulateAll(product, PaddedDim(to.dim), kStripQueries);
  }
};

void AmxFold(const ForwardTile& tile) {
  const TileConfiguration tiles;
  Fold<Amx, AmxProducts>(tile);
}

// Scores and upstream products of 32 keys.
struct DifferentialScratch {
  alignas(64) float scores[kBlockKeys * kStripQueries];
  alignas(64) float upstream[kBlockKeys * kStripQueries];
};

ScoreSteps DifferentialSteps(const BackwardTile& tile, int64_t block, DifferentialScratch* to) {
  const int64_t words = DimWords<Amx>(tile.dim);
  const int64_t row = (tile.keys.begin + block * kBlockKeys) * words;
  ScoreSteps steps(words);
  steps.Add({tile.k + row, tile.q, to->scores});
  steps.Add({tile.v + row, tile.dout, to->upstream});
  return steps;
}

// P and dS of keys j, j + 1 from row r of their block on.
template <bool kMasked>
ANNULUS_INLINE void DifferentiatePair(const BackwardTile& tile, const DifferentialScratch& from,
                                      int64_t r, const BackwardScratch<Amx>& to, int64_t j) {
  constexpr int64_t kRowWords = BackwardScratch<Amx>::kRowWords;
  const Vec scale = Amx::Set(tile.scale);
  Vec p[2][Amx::kVectors], ds[2][Amx::kVectors];
  ANNULUS_UNROLL
  for (int n = 0; n < Amx::kVectors; ++n) {
    const int64_t lane = n * Amx::kWidth;
    const Vec lse = Amx::Load(tile.lse + lane);
    const Vec delta = Amx::Load(tile.delta + lane);
    ANNULUS_UNROLL
    for (int m = 0; m < 2; ++m) {
      const int64_t at = (r + m) * kStripQueries + lane;
      p[m][n] = RecomputedProbability<Amx>(Amx::Load(from.scores + at), scale, lse);
      if constexpr (kMasked) {
        const uint64_t bits = tile.keys.bits[tile.keys.begin + j + m];
        p[m][n] = Amx::Select(bits >> lane, p[m][n], Amx::Zero());
      }
      ds[m][n] = Amx::Mul(p[m][n], Amx::Sub(Amx::Load(from.upstream + at), delta));
    }
    StoreAcrossKeys<Amx, 2>(ds, n, to.ds_across + j / 2 * kStripQueries);
  }
  StoreAlongQueries<Amx, 2>(p, to.p + j * kRowWords);
  StoreAlongQueries<Amx, 2>(ds, to.ds + j * kRowWords);
}

template <bool kMasked>
void DifferentiateBlocks(const BackwardTile& tile) {
  const BackwardScratch<Amx> to = ScratchOf<Amx>(tile, 0);
  DifferentialScratch scratch[2];
  const int64_t blocks = (tile.keys.end - tile.keys.begin) / kBlockKeys;
  DifferentialSteps(tile, 0, &scratch[0]).All();
  for (int64_t b = 0; b < blocks; ++b) {
    const ScoreSteps next = b + 1 < blocks ? DifferentialSteps(tile, b + 1, &scratch[(b + 1) % 2])
                                           : ScoreSteps(kTileWords);
    Interleave(next, [&](int64_t r) {
      DifferentiatePair<kMasked>(tile, scratch[b % 2], 2 * r, to, b * kBlockKeys + 2 * r);
    });
  }
}

void AmxDifferentiate(const BackwardTile& tile) {
  const TileConfiguration tiles;
  if (tile.keys.bits != nullptr) {
    DifferentiateBlocks<true>(tile);
  } else {
    DifferentiateBlocks<false>(tile);
  }
}

void AmxAccumulateDq(const BackwardTile& tile) {
  const TileConfiguration tiles;
  AmxProducts::AccumulatePanels(tile.keys, tile.k_panels, ScratchOf<Amx>(tile, 0).ds_across,
                                {tile.dim, tile.dq});
}

void AmxAccumulateDkv(const BackwardTile& tile) {
  const TileConfiguration tiles;
  const BackwardScratch<Amx> scratch = ScratchOf<Amx>(tile, 0);
  constexpr int64_t kRowWords = BackwardScratch<Amx>::kRowWords;
  const int64_t dim = PaddedDim(tile.dim), first = tile.keys.begin * dim;
  const int64_t keys = tile.keys.end - tile.keys.begin;
  AccumulateAll({{scratch.p, kRowWords},
                 {tile.dout_across, tile.across_stride},
                 kRowWords,
                 {tile.dv + first, dim}},
                keys, dim);
  AccumulateAll({{scratch.ds, kRowWords},
                 {tile.q_across, tile.across_stride},
                 kRowWords,
                 {tile.dk + first, dim}},
                keys, dim);
}

// [PaddedDim(dim)][key words of the tile].
void PackTransposedPanels(const Rows& from, float* panels, int64_t tile_keys, int64_t first_key) {
  const int64_t words = tile_keys / 2, dim = PaddedDim(from.dim);
  const int64_t keys = (from.count + Amx::kKeyMultiple - 1) / Amx::kKeyMultiple * Amx::kKeyMultiple;
  const PairSource source{static_cast<const uint16_t*>(from.data), from.stride, from.count,
                          from.dim};
  for (int64_t w = 0; w < keys / 2; w += 4) {
    for (int64_t d = 0; d < dim; d += 4) {
      Quad r[4] = {};
      for (int64_t i = 0; i < 4 && 2 * (w + i) < from.count; ++i) {
        alignas(16) float across[4] = {};
        if (d + 4 <= from.dim) {
          source.Across<4>(2 * (w + i), d, across);
        } else {
          for (int64_t e = d; e < from.dim; ++e) source.Across<1>(2 * (w + i), e, across + e - d);
        }
        r[i] = LoadQuad(across);
      }
      Transpose(r);
      for (int64_t i = 0; i < 4; ++i) StoreQuad(panels + (d + i) * words + first_key / 2 + w, r[i]);
    }
  }
}

// All rows of a strip, those of absent queries zero.
void PackWholeAcross(const Rows& from, float* across, int64_t stride) {
  PackAcross<Amx>(from, across, stride);
  for (int64_t w = (from.count + 1) / 2; w < kStripQueries / 2; ++w) {
    for (int64_t d = 0; d < PaddedDim(from.dim); ++d) across[w * stride + d] = 0.0f;
  }
}

constexpr TileKernels MakeAmxTiles() {
  TileKernels table = MakeTileKernels<Amx>("amx");
  table.pack_panels = PackTransposedPanels;
  table.pack_across = PackWholeAcross;
  table.fold = AmxFold;
  table.differentiate = AmxDifferentiate;
  table.accumulate_dq = AmxAccumulateDq;
  table.accumulate_dkv = AmxAccumulateDkv;
  return table;
}

}  // namespace

constinit const TileKernels kAmxTiles = MakeAmxTiles();

}  // namespace annulus::kernels::cpu
