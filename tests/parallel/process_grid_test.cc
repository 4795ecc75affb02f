#include "parallel/process_grid.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/base/error.h"
#include "parallel/dry_communicator.h"
#include "parallel/local_communicator.h"

namespace annulus::parallel {
namespace {

TEST(ProcessGrid, ContextRunsFastest) {
  for (int ranks : {1, 2, 6, 8}) {
    for (int context_size = 1; context_size <= ranks; ++context_size) {
      if (ranks % context_size != 0) continue;
      RunRanks(ranks, [&](Communicator& world) {
        const ProcessGrid grid(world, context_size);
        EXPECT_EQ(grid.context().size(), context_size);
        EXPECT_EQ(grid.data().size(), ranks / context_size);
        EXPECT_EQ(grid.data().rank() * context_size + grid.context().rank(), world.rank());
        // The groups are those of the ranks that say so.
        const std::string mine = std::to_string(world.rank());
        const auto contexts = grid.context().AllGatherText(mine);
        for (int i = 0; i < context_size; ++i) {
          EXPECT_EQ(contexts[static_cast<size_t>(i)],
                    std::to_string(grid.data().rank() * context_size + i));
        }
        const auto datas = grid.data().AllGatherText(mine);
        for (int i = 0; i < ranks / context_size; ++i) {
          EXPECT_EQ(datas[static_cast<size_t>(i)],
                    std::to_string(i * context_size + grid.context().rank()));
        }
      });
    }
  }
}

TEST(ProcessGrid, ZeroMeansAllRanks) {
  DryCommunicator world(5, 6);
  const ProcessGrid grid(world, 0);
  EXPECT_EQ(grid.context().size(), 6);
  EXPECT_EQ(grid.data().size(), 1);
}

TEST(ProcessGrid, ADryGridHasTheRealSizes) {
  DryCommunicator world(5, 12);
  const ProcessGrid grid(world, 4);
  EXPECT_EQ(grid.context().size(), 4);
  EXPECT_EQ(grid.context().rank(), 1);
  EXPECT_EQ(grid.data().size(), 3);
  EXPECT_EQ(grid.data().rank(), 1);
}

TEST(ProcessGrid, AnImpossibleSizeNamesThePossibleOnes) {
  DryCommunicator world(0, 12);
  for (int size : {5, 13, -1}) {
    try {
      const ProcessGrid grid(world, size);
      ADD_FAILURE() << "context size " << size;
    } catch (const ConfigError& error) {
      EXPECT_THAT(error.what(), testing::HasSubstr(std::to_string(size)));
      EXPECT_THAT(error.what(), testing::HasSubstr("1, 2, 3, 4, 6, 12"));
    }
  }
}

}  // namespace
}  // namespace annulus::parallel
