#include "kernels/base/mask.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

namespace annulus::kernels {
namespace {

// The definition of each kind, word for word.
bool Allows(const Mask& mask, int64_t query, int64_t key) {
  if (query >= mask.length || key >= mask.length) return false;
  if (mask.kind == MaskKind::kFull) return true;
  if (key > query) return false;
  switch (mask.kind) {
    case MaskKind::kWindow:
      return query - key < mask.window;
    case MaskKind::kDocuments:
      return std::none_of(mask.document_starts.begin(), mask.document_starts.end(),
                          [&](int64_t start) { return key < start && start <= query; });
    case MaskKind::kBlockSparse: {
      const BlockPattern& p = mask.blocks;
      return p.Selects(query / p.block_tokens, key / p.block_tokens);
    }
    default:
      return true;
  }
}

struct Sample {
  Mask mask;
  std::vector<int64_t> starts;  // of mask's documents; moves with it, so is never copied
  PositionRun queries;
  PositionRun keys;

  Sample() = default;
  Sample(Sample&&) = default;
};

class MaskTest : public testing::TestWithParam<MaskKind> {
 protected:
  int64_t Draw(int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(generator_);
  }

  PositionRun DrawRun(int64_t max_count) {
    return {Draw(0, 150), Draw(1, 4) == 1 ? Draw(2, 9) : 1, Draw(0, max_count)};
  }

  // Ascending from 0, some next to each other, some past every length; none at all now and then,
  // which is one document.
  std::vector<int64_t> DrawStarts() {
    std::vector<int64_t> starts;
    const int64_t longest = Draw(1, 3) == 1 ? 4 : 90;
    for (int64_t at = 0; at < 300 && Draw(1, 40) > 1; at += Draw(1, longest)) starts.push_back(at);
    return starts;
  }

  Sample DrawSample(int64_t most_queries = 64, int64_t most_keys = 90) {
    Sample s;
    s.mask.kind = GetParam();
    s.mask.length = Draw(1, 250);
    s.mask.window = Draw(1, 3) == 1 ? Draw(1, 80) : Draw(1, 5);
    s.starts = DrawStarts();
    s.mask.document_starts = s.starts;
    s.mask.blocks = {.block_tokens = Draw(1, 20),
                     .window_blocks = Draw(0, 2),
                     .global_blocks = Draw(0, 1),
                     .stride_blocks = Draw(0, 3),
                     .random_blocks = Draw(0, 3),
                     .seed = static_cast<uint64_t>(Draw(0, 1000))};
    s.queries = DrawRun(Draw(1, 3) == 1 ? 3 : most_queries);
    s.keys = DrawRun(Draw(1, 3) == 1 ? 3 : most_keys);
    return s;
  }

  static constexpr int kSamples = 4000;

 private:
  std::mt19937_64 generator_{1};
};

TEST_P(MaskTest, AllowsAndKeysFollowTheDefinition) {
  for (int i = 0; i < kSamples / 10; ++i) {
    const Sample s = DrawSample();
    for (int64_t q = 0; q < s.queries.count; ++q) {
      const int64_t query = s.queries.at(q);
      const Mask::KeyRange range = s.mask.Keys(query);
      for (int64_t key = 0; key < 260; ++key) {
        const bool allowed = Allows(s.mask, query, key);
        ASSERT_EQ(s.mask.Allows(query, key), allowed) << query << " " << key;
        const bool inside = range.first <= key && key <= range.last;
        if (GetParam() == MaskKind::kBlockSparse) {
          ASSERT_TRUE(inside || !allowed) << query << " " << key;
        } else {
          ASSERT_EQ(inside, allowed) << query << " " << key;
        }
      }
    }
  }
}

TEST_P(MaskTest, BitsClassesAndCountsAgreeWithEveryPair) {
  int64_t classes[3] = {};
  for (int i = 0; i < kSamples; ++i) {
    const Sample s = DrawSample();
    std::vector<uint64_t> bits(static_cast<size_t>(s.keys.count), 0xdeadbeef);
    s.mask.FillBits(s.queries, s.keys, bits.data());
    int64_t pairs = 0;
    for (int64_t k = 0; k < s.keys.count; ++k) {
      uint64_t expected = 0;
      for (int64_t q = 0; q < s.queries.count; ++q) {
        if (Allows(s.mask, s.queries.at(q), s.keys.at(k))) expected |= uint64_t{1} << q, ++pairs;
      }
      ASSERT_EQ(bits[static_cast<size_t>(k)], expected) << "sample " << i << " key " << k;
    }
    ASSERT_EQ(s.mask.CountPairs(Positions(s.queries), Positions(s.keys)), pairs) << i;

    const Coverage coverage = s.mask.Classify(s.queries, s.keys);
    ++classes[static_cast<int>(coverage)];
    const int64_t all = s.queries.count * s.keys.count;
    if (coverage == Coverage::kSkip) {
      ASSERT_EQ(pairs, 0) << i;
    }
    if (coverage == Coverage::kWhole) {
      ASSERT_EQ(pairs, all) << i;
    }
    if (coverage == Coverage::kPartial && GetParam() != MaskKind::kBlockSparse) {
      ASSERT_GT(pairs, 0) << i;
      ASSERT_LT(pairs, all) << i;
    }
  }
  for (int64_t seen : classes) EXPECT_GE(seen, 20);
}

// As long as the tokens of a rank, which the ring asks about as a whole.
TEST_P(MaskTest, ClassesOfLongRunsAgreeWithEveryPair) {
  int64_t classes[3] = {};
  for (int i = 0; i < kSamples / 10; ++i) {
    const Sample s = DrawSample(400, 400);
    const int64_t all = s.queries.count * s.keys.count;
    int64_t pairs = 0;
    for (int64_t q = 0; q < s.queries.count; ++q) {
      for (int64_t k = 0; k < s.keys.count; ++k) {
        pairs += Allows(s.mask, s.queries.at(q), s.keys.at(k));
      }
    }
    const Coverage coverage = s.mask.Classify(s.queries, s.keys);
    ++classes[static_cast<int>(coverage)];
    if (GetParam() == MaskKind::kBlockSparse && coverage == Coverage::kPartial) continue;
    const Coverage exact = pairs == 0     ? Coverage::kSkip
                           : pairs == all ? Coverage::kWhole
                                          : Coverage::kPartial;
    ASSERT_EQ(coverage, exact) << i;
    ASSERT_EQ(s.mask.CountPairs(Positions(s.queries), Positions(s.keys)), pairs) << i;
  }
  for (Coverage coverage : {Coverage::kSkip, Coverage::kPartial}) {
    EXPECT_GE(classes[static_cast<int>(coverage)], 20);
  }
}

// What ranks count apart, by any partition, is what one counts alone.
TEST_P(MaskTest, PairsOfRanksAddUp) {
  for (int i = 0; i < kSamples / 40; ++i) {
    const Sample s = DrawSample();
    const int64_t ranks = Draw(1, 4), padded = (s.mask.length + ranks - 1) / ranks * ranks;
    int64_t contiguous = 0, striped = 0;
    for (int64_t a = 0; a < ranks; ++a) {
      for (int64_t b = 0; b < ranks; ++b) {
        const int64_t tokens = padded / ranks;
        contiguous += s.mask.CountPairs(Positions({a * tokens, 1, tokens}),
                                        Positions({b * tokens, 1, tokens}));
        striped += s.mask.CountPairs(Positions({a, ranks, tokens}), Positions({b, ranks, tokens}));
      }
    }
    const Positions all({0, 1, s.mask.length});
    ASSERT_EQ(contiguous, s.mask.CountPairs(all, all)) << i;
    ASSERT_EQ(striped, contiguous) << i;
  }
}

TEST_P(MaskTest, CountsPairsOfSeveralRuns) {
  for (int i = 0; i < kSamples / 10; ++i) {
    const Sample s = DrawSample();
    Positions queries(s.queries), keys(s.keys);
    queries.Append({200, 3, 10});
    keys.Append({160, 2, 20});
    int64_t pairs = 0;
    for (int64_t q = 0; q < queries.tokens(); ++q) {
      for (int64_t k = 0; k < keys.tokens(); ++k)
        pairs += Allows(s.mask, queries.at(q), keys.at(k));
    }
    ASSERT_EQ(s.mask.CountPairs(queries, keys), pairs) << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, MaskTest,
                         testing::Values(MaskKind::kFull, MaskKind::kCausal, MaskKind::kWindow,
                                         MaskKind::kDocuments, MaskKind::kBlockSparse),
                         [](const auto& kind) {
                           std::string name(NameOf(kind.param));
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST(BlockPattern, SelectsWindowGlobalAndStride) {
  const BlockPattern window{.window_blocks = 2};
  EXPECT_TRUE(window.Selects(5, 5));
  EXPECT_TRUE(window.Selects(5, 4));
  EXPECT_FALSE(window.Selects(5, 3));
  EXPECT_FALSE(window.Selects(5, 6));
  const BlockPattern global{.window_blocks = 0, .global_blocks = 1};
  EXPECT_TRUE(global.Selects(9, 0));
  EXPECT_FALSE(global.Selects(9, 1));
  const BlockPattern strided{.window_blocks = 0, .stride_blocks = 3};
  EXPECT_TRUE(strided.Selects(7, 1));
  EXPECT_FALSE(strided.Selects(7, 2));
}

TEST(BlockPattern, DrawsAboutAsManyRandomBlocksAsAsked) {
  const BlockPattern pattern{.window_blocks = 0, .random_blocks = 4, .seed = 7};
  int64_t selected = 0;
  for (int64_t i = 100; i < 300; ++i) {
    for (int64_t j = 0; j <= i; ++j) selected += pattern.Selects(i, j);
  }
  EXPECT_NEAR(static_cast<double>(selected) / 200, 4.0, 0.5);
  BlockPattern other = pattern;
  other.seed = 8;
  int64_t differing = 0;
  for (int64_t j = 0; j <= 299; ++j) differing += pattern.Selects(299, j) != other.Selects(299, j);
  EXPECT_GT(differing, 0);
}

TEST(BlockPattern, SelectsEveryBlockOfAShortRow) {
  const BlockPattern pattern{.window_blocks = 0, .random_blocks = 4};
  for (int64_t i = 0; i < 4; ++i) {
    for (int64_t j = 0; j <= i; ++j) EXPECT_TRUE(pattern.Selects(i, j));
  }
}

}  // namespace
}  // namespace annulus::kernels
