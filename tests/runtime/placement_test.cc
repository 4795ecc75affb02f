#include "runtime/machine/placement.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace annulus::runtime {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr Placement kEightCores{.cores_online = 8, .affinity_cores = 8};

Placement With(void (*change)(Placement&)) {
  Placement facts = kEightCores;
  change(facts);
  return facts;
}

TEST(PlacementAdviceTest, SharesUsableCores) {
  EXPECT_EQ(UsableCores(kEightCores), 8);
  EXPECT_EQ(UsableCores(With([](Placement& f) { f.cgroup_cores = 2.5; })), 2);
  EXPECT_EQ(UsableCores(With([](Placement& f) { f.cgroup_cores = 0.5; })), 1);
  EXPECT_EQ(UsableCores(Placement{}), 1);
  EXPECT_EQ(ThreadsPerRank(kEightCores), 8);
  EXPECT_EQ(ThreadsPerRank(With([](Placement& f) { f.ranks = 3; })), 2);
  EXPECT_EQ(ThreadsPerRank(With([](Placement& f) { f.ranks = 16; })), 1);
  EXPECT_EQ(ThreadsPerRank(With([](Placement& f) { f.threads = 5; })), 5);
}

TEST(PlacementAdviceTest, AGoodLaunchGetsNone) {
  EXPECT_THAT(PlacementAdvice(kEightCores), IsEmpty());
  EXPECT_THAT(PlacementAdvice(With([](Placement& f) {
                f.ranks = 4;
                f.threads = 2;
                f.cgroup_cores = 8;
                f.omp_thread_limit = 2;
              })),
              IsEmpty());
  EXPECT_THAT(PlacementAdvice({.cores_online = 8, .affinity_cores = 1}), IsEmpty());
}

TEST(PlacementAdviceTest, PinnedToOneCore) {
  EXPECT_THAT(PlacementAdvice({.cores_online = 8, .affinity_cores = 1, .threads = 4}),
              ElementsAre("this process is pinned to 1 of 8 cores, but device.threads = 4: launch "
                          "with mpirun --bind-to none or srun --cpus-per-task=4"));
}

TEST(PlacementAdviceTest, MoreRanksThanCores) {
  EXPECT_THAT(PlacementAdvice(With([](Placement& f) { f.ranks = 9; })),
              ElementsAre("9 ranks share 8 cores: expect right results, but no speed-up past 8 "
                          "ranks"));
}

TEST(PlacementAdviceTest, MoreThreadsThanCores) {
  EXPECT_THAT(PlacementAdvice(With([](Placement& f) {
                f.ranks = 3;
                f.threads = 4;
              })),
              ElementsAre("3 ranks of 4 threads want 12 cores and have 8: set device.threads to 2 "
                          "or leave it out"));
}

TEST(PlacementAdviceTest, AControlGroupHoldsBack) {
  EXPECT_THAT(PlacementAdvice(With([](Placement& f) { f.cgroup_cores = 1.5; })),
              ElementsAre("the control group (a container or a job) allows 1.5 of the 8 cores "
                          "seen: 1 is used"));
}

TEST(PlacementAdviceTest, OpenMpHoldsBack) {
  EXPECT_THAT(PlacementAdvice(With([](Placement& f) { f.omp_thread_limit = 3; })),
              ElementsAre("OMP_THREAD_LIMIT = 3 holds back 8 threads per rank: unset it"));
}

}  // namespace
}  // namespace annulus::runtime
