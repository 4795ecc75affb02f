// Who shares memory with whom, by option, launch, machine and room.
#include "runtime/run/memory_sharing.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/base/error.h"
#include "parallel/dry_communicator.h"
#include "tests/runtime/message_of.h"

namespace annulus::runtime {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

ParallelOptions Of(int context_size, int node_size = 0, SharedMemory shared = SharedMemory::kAuto) {
  ParallelOptions parallel;
  parallel.context_size = context_size;
  parallel.ulysses_size = 1;
  parallel.node_size = node_size;
  parallel.shared_memory = shared;
  return parallel;
}

TEST(MemorySharing, OfARunIsWhatCanBeWithinNodesAndContextGroups) {
  EXPECT_THAT(FindSharing(Of(4), {5, 5, 5, 5}).nodes, ElementsAre(0, 0, 0, 0));
  EXPECT_THAT(FindSharing(Of(4), {0, 0, 2, 2}).nodes, ElementsAre(0, 0, 1, 1));
  EXPECT_THAT(FindSharing(Of(4), {0, 1, 0, 1}).nodes, ElementsAre(0, 1, 0, 1));
  EXPECT_THAT(FindSharing(Of(4, 2), {0, 0, 0, 0}).nodes, ElementsAre(0, 0, 1, 1));
  EXPECT_THAT(FindSharing(Of(2), {0, 0, 0, 0}).nodes, ElementsAre(0, 0, 1, 1));
  EXPECT_THAT(FindSharing(Of(4), {0, 0, 0, 3}).nodes, ElementsAre(0, 0, 0, 1));
  EXPECT_EQ(FindSharing(Of(4), {0, 0, 0, 3}).text,
            "read in place by ranks that share memory, 1 or 3 each");
  for (const MemorySharing& none : {FindSharing(Of(1), {0, 0}), FindSharing(Of(2), {0, 1}),
                                    FindSharing(Of(2, 0, SharedMemory::kOff), {0, 0})}) {
    EXPECT_THAT(none.nodes, IsEmpty());
    EXPECT_THAT(none.text, HasSubstr("copied: "));
  }
}

// Ranks of a Ulysses group hold other heads.
TEST(MemorySharing, IsNarrowedToRanksThatHoldTheSameHeads) {
  ParallelOptions hybrid = Of(4);
  const MemorySharing all = FindSharing(hybrid, {0, 0, 0, 0});
  hybrid.ulysses_size = 2;
  EXPECT_THAT(NarrowTo(hybrid, all).nodes, ElementsAre(0, 1, 0, 1));
  hybrid.ulysses_size = 4;
  EXPECT_FALSE(NarrowTo(hybrid, all).on());
}

TEST(MemorySharing, OfAPlanGoesByNodes) {
  EXPECT_THAT(PlanSharing(Of(4), 4, nullptr).nodes, ElementsAre(0, 0, 0, 0));
  EXPECT_THAT(PlanSharing(Of(4, 2), 4, nullptr).nodes, ElementsAre(0, 0, 1, 1));
  MachineModel machine;
  machine.network.ranks_per_node = 2;
  machine.network.within_node.host_share = 0.5;
  EXPECT_THAT(PlanSharing(Of(4), 4, &machine).nodes, ElementsAre(0, 0, 1, 1));
  EXPECT_THAT(PlanSharing(Of(4, 4), 4, &machine).nodes, ElementsAre(0, 0, 0, 0));
  machine.network.within_node.host_share = 0;
  EXPECT_FALSE(PlanSharing(Of(4), 4, &machine).on());
  EXPECT_TRUE(PlanSharing(Of(4, 0, SharedMemory::kOn), 4, &machine).on());
  EXPECT_FALSE(PlanSharing(Of(4, 0, SharedMemory::kOff), 4, nullptr).on());
}

TEST(MemorySharing, NeedsRoomForAllRanksOfAMachine) {
  constexpr double kMiB = 1 << 20;
  EXPECT_EQ(RoomProblem({{0, 5 * kMiB, 10 * kMiB}, {0, 5 * kMiB, 10 * kMiB}}), "");
  EXPECT_EQ(RoomProblem({{0, 5 * kMiB, 8 * kMiB}, {1, 5 * kMiB, 8 * kMiB}}), "");
  const std::string problem = RoomProblem(
      {{0, kMiB, 8 * kMiB}, {2, 5 * kMiB, 9 * kMiB}, {0, 1, 8 * kMiB}, {2, 5 * kMiB, 9 * kMiB}});
  EXPECT_THAT(problem,
              HasSubstr("rank 2 need 10.00 MiB of shared memory and /dev/shm has 9.00 MiB"));
  EXPECT_THAT(problem, HasSubstr("parallel.shared_memory = off"));
}

// A communicator of two ranks with little memory to share.
class SmallRoom final : public parallel::DryCommunicator {
 public:
  explicit SmallRoom(double room_bytes) : DryCommunicator(0, 2), room_bytes_(room_bytes) {}
  std::vector<int> FindMemoryNodes() override { return {0, 0}; }
  double SharedRoomBytes() const override { return room_bytes_; }

 private:
  double room_bytes_;
};

TEST(MemorySharing, WithoutRoomIsGivenUpOrRefused) {
  SmallRoom world(1000);
  const MemorySharing sharing = FindSharing(Of(2), world.FindMemoryNodes());
  EXPECT_THAT(WithRoom(Of(2), sharing, 500, world).nodes, ElementsAre(0, 0));
  const MemorySharing none = WithRoom(Of(2), sharing, 501, world);
  EXPECT_FALSE(none.on());
  EXPECT_THAT(none.text,
              HasSubstr("copied: the ranks on the node of rank 0 need 1,002 B of shared memory"));
  const ParallelOptions on = Of(2, 0, SharedMemory::kOn);
  EXPECT_THAT(MessageOf([&] { WithRoom(on, sharing, 501, world); }),
              HasSubstr("parallel.shared_memory = on, but the ranks"));
}

}  // namespace
}  // namespace annulus::runtime
