#include "runtime/machine/placement.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <numeric>

#include "runtime/machine/placement_advice.h"

namespace annulus::runtime {
namespace {

using parallel::Launcher;
using testing::DoubleEq;
using testing::Each;
using testing::ElementsAre;
using testing::IsEmpty;

std::vector<int> Cores(int first, int count) {
  std::vector<int> cores(static_cast<size_t>(count));
  std::iota(cores.begin(), cores.end(), first);
  return cores;
}

// Alone on all of eight cores.
Placement EightCores() { return {.host = "a", .cores = Cores(0, 8), .cores_online = 8}; }

Placement With(const std::function<void(Placement&)>& change) {
  Placement placement = EightCores();
  change(placement);
  return placement;
}

// Ranks that mpirun bound to `each` cores of eight, one set after the other.
std::vector<Placement> Bound(int ranks, int each) {
  std::vector<Placement> job;
  for (int rank = 0; rank < ranks; ++rank) {
    job.push_back(With([&](Placement& p) {
      p.cores = Cores(rank * each, each);
      p.launcher = Launcher::kOpenMpi;
      p.launcher_cores = 8;
    }));
  }
  return job;
}

std::vector<std::string> AdviceFor(const Placement& placement, int ranks = 1) {
  return PlacementAdvice(std::vector<Placement>(static_cast<size_t>(ranks), placement));
}

int ThreadsOf(const Placement& placement) { return ThreadsPerRank({&placement, 1}, 0); }

TEST(PlacementTest, OneRankHasTheUsableCores) {
  EXPECT_EQ(UsableCores(EightCores()), 8);
  EXPECT_EQ(UsableCores(With([](Placement& p) { p.cgroup_cores = 2.5; })), 2);
  EXPECT_EQ(UsableCores(With([](Placement& p) { p.cgroup_cores = 0.5; })), 1);
  EXPECT_EQ(UsableCores(Placement{}), 1);
  EXPECT_EQ(ThreadsOf(EightCores()), 8);
  EXPECT_EQ(ThreadsOf(With([](Placement& p) { p.ranks = 3; })), 2);
  EXPECT_EQ(ThreadsOf(With([](Placement& p) { p.ranks = 16; })), 1);
  EXPECT_EQ(ThreadsOf(With([](Placement& p) { p.threads = 5; })), 5);
  EXPECT_EQ(ThreadsOf(Placement{}), 1);
}

TEST(PlacementTest, RanksShareCoresThatTheyHaveInCommon) {
  EXPECT_THAT(CoresPerRank(std::vector<Placement>(4, EightCores())), Each(DoubleEq(2)));
  EXPECT_THAT(CoresPerRank(Bound(4, 2)), Each(DoubleEq(2)));
  // Three on cores 0-1, one on 0-7.
  std::vector<Placement> job(3, With([](Placement& p) { p.cores = Cores(0, 2); }));
  job.push_back(EightCores());
  EXPECT_THAT(CoresPerRank(job),
              ElementsAre(DoubleEq(0.5), DoubleEq(0.5), DoubleEq(0.5), DoubleEq(6.5)));
  EXPECT_EQ(ThreadsPerRank(job, 0), 1);
  EXPECT_EQ(ThreadsPerRank(job, 3), 6);
  // Those of another host are others.
  job.back().host = "b";
  EXPECT_THAT(CoresPerRank(job).back(), DoubleEq(8));
}

// Seven parts of a seventh each add up to less than 1 in floating point.
TEST(PlacementTest, PartsOfCoresMakeWholeOnes) {
  std::vector<Placement> job(49, With([](Placement& p) {
                               p.cores = Cores(0, 49);
                               p.cores_online = 49;
                             }));
  EXPECT_EQ(ThreadsPerRank(job, 0), 1);
  EXPECT_THAT(PlacementAdvice(job), IsEmpty());
}

TEST(PlacementTest, TheControlGroupIsShared) {
  std::vector<Placement> job = Bound(4, 2);
  for (Placement& placement : job) placement.cgroup_cores = 4;
  EXPECT_THAT(CoresPerRank(job), Each(DoubleEq(1)));
}

TEST(PlacementAdviceTest, AGoodLaunchGetsNone) {
  EXPECT_THAT(AdviceFor(EightCores()), IsEmpty());
  EXPECT_THAT(AdviceFor(EightCores(), 8), IsEmpty());
  EXPECT_THAT(AdviceFor(With([](Placement& p) {
                          p.threads = 2;
                          p.cgroup_cores = 8;
                          p.omp_thread_limit = 2;
                        }),
                        4),
              IsEmpty());
  // One of a shell's own choice, or of a batch system's.
  EXPECT_THAT(AdviceFor(With([](Placement& p) { p.cores = Cores(3, 1); })), IsEmpty());
  EXPECT_THAT(AdviceFor(With([](Placement& p) {
                p.cores = Cores(3, 1);
                p.launcher = Launcher::kSlurm;
              })),
              IsEmpty());
  EXPECT_THAT(PlacementAdvice(Bound(4, 2)), IsEmpty());
  EXPECT_THAT(PlacementAdvice(Bound(3, 2)), IsEmpty());  // 8 cores are no 3 for each
}

TEST(PlacementAdviceTest, PinnedToFewerCoresThanThreads) {
  std::vector<Placement> job = Bound(2, 1);
  for (Placement& placement : job) placement.threads = 4;
  EXPECT_THAT(PlacementAdvice(job),
              ElementsAre("a: 2 ranks are pinned to 1 core each of 8, but device.threads = 4: "
                          "launch with mpirun --bind-to none or --map-by slot:PE=4"));
  job.resize(1);
  EXPECT_THAT(PlacementAdvice(job),
              ElementsAre("a: 1 rank is pinned to 1 core of 8, but device.threads = 4: launch with "
                          "mpirun --bind-to none or --map-by slot:PE=4"));
  job[0].launcher = Launcher::kHydra;
  EXPECT_THAT(PlacementAdvice(job),
              ElementsAre("a: 1 rank is pinned to 1 core of 8, but device.threads = 4: launch with "
                          "mpirun -bind-to none or -bind-to core:4"));
  job[0].launcher = Launcher::kSlurm;
  job[0].launcher_cores = 0;
  EXPECT_THAT(PlacementAdvice(job),
              ElementsAre("a: 1 rank is pinned to 1 core of 8, but device.threads = 4: launch with "
                          "srun --cpus-per-task=4"));
}

TEST(PlacementAdviceTest, PinnedToTheSameCore) {
  std::vector<Placement> job(3, Bound(1, 1)[0]);
  EXPECT_THAT(PlacementAdvice(job),
              ElementsAre("a: 3 ranks are pinned to the same core (0) of 8: launch with mpirun "
                          "--bind-to none or --map-by slot:PE=2"));
  job = Bound(2, 1);
  job.push_back(job[1]);
  EXPECT_THAT(PlacementAdvice(job),
              ElementsAre("a: 2 ranks are pinned to the same core (1) of 8: launch with mpirun "
                          "--bind-to none or --map-by slot:PE=2"));
}

TEST(PlacementAdviceTest, MpirunLeavesCoresIdle) {
  EXPECT_THAT(PlacementAdvice(Bound(2, 1)),
              ElementsAre("a: 2 ranks run 1 thread each on 2 of 8 cores, for mpirun bound them so: "
                          "launch with mpirun --bind-to none or --map-by slot:PE=4"));
  EXPECT_THAT(PlacementAdvice(Bound(1, 1)),
              ElementsAre("a: 1 rank runs 1 thread on 1 of 8 cores, for mpirun bound it so: launch "
                          "with mpirun --bind-to none or --map-by slot:PE=8"));
  std::vector<Placement> asked = Bound(2, 1);
  for (Placement& placement : asked) placement.threads = 1;
  EXPECT_THAT(PlacementAdvice(asked), IsEmpty());
}

TEST(PlacementAdviceTest, MoreRanksThanCores) {
  const std::string many =
      "a: 9 ranks share 8 cores: expect right results, but no speed-up past 8 ranks";
  EXPECT_THAT(AdviceFor(EightCores(), 9), ElementsAre(many));
  EXPECT_THAT(AdviceFor(With([](Placement& p) { p.ranks = 9; })), ElementsAre(many));
}

TEST(PlacementAdviceTest, MoreThreadsThanCores) {
  EXPECT_THAT(AdviceFor(With([](Placement& p) { p.threads = 4; }), 3),
              ElementsAre("a: 3 ranks of 4 threads want 12 cores and have 8: set device.threads to "
                          "2 or leave it out"));
  std::vector<Placement> bound = Bound(4, 2);
  for (Placement& placement : bound) placement.threads = 3;
  EXPECT_THAT(PlacementAdvice(bound),
              ElementsAre("a: 4 ranks of 3 threads want 12 cores and have 8: set device.threads to "
                          "2 or leave it out"));
}

TEST(PlacementAdviceTest, AControlGroupHoldsBack) {
  EXPECT_THAT(AdviceFor(With([](Placement& p) { p.cgroup_cores = 1.5; })),
              ElementsAre("a: the control group (a container or a job) allows 1.5 of the 8 cores "
                          "seen: 1 is used"));
}

TEST(PlacementAdviceTest, OpenMpHoldsBack) {
  EXPECT_THAT(AdviceFor(With([](Placement& p) { p.omp_thread_limit = 3; })),
              ElementsAre("a: OMP_THREAD_LIMIT = 3 holds back 8 threads per rank: unset it"));
}

TEST(PlacementAdviceTest, OneSentenceForAllHostsThatItHoldsFor) {
  std::vector<Placement> job;
  for (int host = 0; host < 5; ++host) {
    for (Placement& rank : Bound(2, 1)) {
      rank.host = fmt::format("n{}", host);
      job.push_back(std::move(rank));
    }
  }
  const std::string text =
      ": 2 ranks run 1 thread each on 2 of 8 cores, for mpirun bound them so: launch with mpirun "
      "--bind-to none or --map-by slot:PE=4";
  EXPECT_THAT(PlacementAdvice(job), ElementsAre("n0, n1 and 3 more" + text));
  job.resize(6);
  EXPECT_THAT(PlacementAdvice(job), ElementsAre("n0, n1, n2" + text));
}

}  // namespace
}  // namespace annulus::runtime
