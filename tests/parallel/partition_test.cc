#include "parallel/partition.h"

#include <gtest/gtest.h>

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

INSTANTIATE_TEST_SUITE_P(Kinds, PartitionTest,
                         testing::Values(PartitionKind::kContiguous, PartitionKind::kZigzag,
                                         PartitionKind::kStriped),
                         [](const auto& kind) { return std::string(NameOf(kind.param)); });

}  // namespace
}  // namespace annulus::parallel
