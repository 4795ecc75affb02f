#include "parallel/partition.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace annulus::parallel {
namespace {

class PartitionTest : public testing::TestWithParam<PartitionKind> {};

TEST_P(PartitionTest, EveryPositionIsHeldOnce) {
  for (int ranks : {1, 2, 3, 4, 7, 8}) {
    for (int64_t length : {1, 2, 5, 16, 63, 64, 100, 1001}) {
      const Partition partition(GetParam(), length, ranks);
      std::vector<int> holders(static_cast<size_t>(partition.local_tokens() * ranks), 0);
      for (int rank = 0; rank < ranks; ++rank) {
        const kernels::Positions positions = partition.PositionsOf(rank);
        ASSERT_EQ(positions.tokens(), partition.local_tokens());
        for (int64_t t = 0; t < positions.tokens(); ++t) {
          ++holders.at(static_cast<size_t>(positions.at(t)));
        }
      }
      for (int holder : holders) EXPECT_EQ(holder, 1);
      EXPECT_EQ(partition.padding_tokens(), static_cast<int64_t>(holders.size()) - length);
      EXPECT_GE(partition.padding_tokens(), 0);
      EXPECT_LT(partition.padding_tokens(), 2 * ranks);
    }
  }
}

// The ranks of a member hold its tokens one after the other, in its order; over one rank a member,
// that is the partition without them.
TEST_P(PartitionTest, MembersAreCutInOrder) {
  for (int members : {1, 2, 3, 4}) {
    for (int ranks_each : {1, 2, 3, 4, 7}) {
      for (int64_t length : {1, 2, 5, 16, 63, 100, 1001}) {
        const Partition partition(GetParam(), length, members, ranks_each);
        const Partition of_members = partition.OfMembers();
        ASSERT_EQ(partition.ranks(), members * ranks_each);
        ASSERT_EQ(of_members.ranks(), members);
        ASSERT_EQ(of_members.local_tokens(), partition.local_tokens() * ranks_each);
        EXPECT_EQ(of_members.padding_tokens(), partition.padding_tokens());
        EXPECT_GE(partition.padding_tokens(), 0);
        EXPECT_LT(partition.padding_tokens(), 2 * partition.ranks());
        std::vector<bool> held(static_cast<size_t>(length + partition.padding_tokens()), false);
        for (int rank = 0; rank < partition.ranks(); ++rank) {
          const kernels::Positions positions = partition.PositionsOf(rank);
          ASSERT_LE(positions.runs(), 2);
          ASSERT_EQ(positions.tokens(), partition.local_tokens());
          const kernels::Positions member = of_members.PositionsOf(rank / ranks_each);
          const int64_t first = rank % ranks_each * partition.local_tokens();
          for (int64_t t = 0; t < positions.tokens(); ++t) {
            EXPECT_EQ(positions.at(t), member.at(first + t));
            held.at(static_cast<size_t>(positions.at(t))) = true;
          }
        }
        EXPECT_EQ(std::count(held.begin(), held.end(), true), std::ssize(held));
        if (ranks_each > 1) continue;
        const Partition plain(GetParam(), length, members);
        EXPECT_EQ(plain.local_tokens(), partition.local_tokens());
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, PartitionTest,
                         testing::Values(PartitionKind::kContiguous, PartitionKind::kZigzag,
                                         PartitionKind::kStriped),
                         [](const auto& kind) { return std::string(NameOf(kind.param)); });

}  // namespace
}  // namespace annulus::parallel
