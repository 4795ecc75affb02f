#include "parallel/head_layout.h"

#include <gtest/gtest.h>

#include <set>

#include "kernels/base/error.h"

namespace annulus::parallel {
namespace {

std::vector<int64_t> HeadsOf(const HeadMap& map, int rank) {
  std::vector<int64_t> heads;
  for (const HeadRun& run : map.runs(rank)) {
    for (int64_t i = 0; i < run.count; ++i) heads.push_back(run.begin + i);
  }
  return heads;
}

// Calls body(heads, kv_heads, ranks) for every layout of up to 12 heads.
template <class Body>
void ForEveryLayout(const Body& body) {
  for (int64_t heads = 1; heads <= 12; ++heads) {
    for (int64_t kv_heads = 1; kv_heads <= heads; ++kv_heads) {
      if (heads % kv_heads != 0) continue;
      for (int ranks = 1; ranks <= heads; ++ranks) body(heads, kv_heads, ranks);
    }
  }
}

TEST(HeadLayout, QueryHeadsAreSpreadInOrderAndEvenly) {
  ForEveryLayout([](int64_t heads, int64_t kv_heads, int ranks) {
    const HeadLayout layout = LayOutHeads(heads, kv_heads, ranks);
    int64_t next = 0;
    for (int rank = 0; rank < ranks; ++rank) {
      const std::vector<int64_t> own = HeadsOf(layout.queries, rank);
      EXPECT_EQ(std::ssize(own), layout.queries.count(rank));
      EXPECT_GE(std::ssize(own), heads / ranks);
      EXPECT_LE(std::ssize(own), (heads + ranks - 1) / ranks);
      for (const int64_t head : own) EXPECT_EQ(head, next++);
    }
    EXPECT_EQ(next, heads);
  });
}

// What a kernel reads for a rank's query heads, in equal groups, are the heads that the model's
// groups read.
TEST(HeadLayout, EveryQueryHeadReadsTheHeadThatItReadsInTheModel) {
  ForEveryLayout([](int64_t heads, int64_t kv_heads, int ranks) {
    const HeadLayout layout = LayOutHeads(heads, kv_heads, ranks);
    for (int rank = 0; rank < ranks; ++rank) {
      const std::vector<int64_t> queries = HeadsOf(layout.queries, rank);
      const std::vector<int64_t> keys = HeadsOf(layout.keys, rank);
      ASSERT_EQ(queries.size() % keys.size(), 0u) << heads << "/" << kv_heads << " on " << ranks;
      for (size_t i = 0; i < queries.size(); ++i) {
        EXPECT_EQ(keys[i / (queries.size() / keys.size())], queries[i] / (heads / kv_heads))
            << heads << "/" << kv_heads << " on " << ranks << ", query head " << queries[i];
      }
    }
  });
}

TEST(HeadLayout, NoHeadIsHeldTwiceWhereHeadsDivideEvenly) {
  ForEveryLayout([](int64_t heads, int64_t kv_heads, int ranks) {
    if (kv_heads % ranks != 0) return;
    const HeadLayout layout = LayOutHeads(heads, kv_heads, ranks);
    std::set<int64_t> held;
    for (int rank = 0; rank < ranks; ++rank) {
      EXPECT_EQ(layout.keys.count(rank), kv_heads / ranks);
      for (const int64_t head : HeadsOf(layout.keys, rank)) held.insert(head);
    }
    EXPECT_EQ(std::ssize(held), kv_heads);
  });
}

TEST(HeadLayout, UnevenGroupsRepeatAKeyHead) {
  const HeadLayout layout = LayOutHeads(12, 3, 2);
  EXPECT_EQ(HeadsOf(layout.keys, 0), (std::vector<int64_t>{0, 0, 1}));
  EXPECT_EQ(HeadsOf(layout.keys, 1), (std::vector<int64_t>{1, 2, 2}));
  // As few as will do: a rank's three heads within one group need one head.
  EXPECT_EQ(HeadsOf(LayOutHeads(6, 1, 2).keys, 1), (std::vector<int64_t>{0}));
}

TEST(HeadLayout, RefusesMoreRanksThanHeads) {
  EXPECT_THROW(LayOutHeads(4, 2, 5), InternalError);
  EXPECT_THROW(LayOutHeads(4, 3, 2), InternalError);
}

}  // namespace
}  // namespace annulus::parallel
