#include "parallel/launch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>

#include "kernels/base/error.h"

namespace annulus::parallel {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using Environment = std::map<std::string, std::string>;

LaunchFacts Detect(const Environment& environment) {
  return DetectLaunch([&](const char* name) {
    const auto found = environment.find(name);
    return found == environment.end() ? nullptr : found->second.c_str();
  });
}

const Environment kBatchScript{
    {"SLURM_NTASKS", "8"}, {"SLURM_PROCID", "0"}, {"SLURM_LOCALID", "0"}, {"SLURM_JOB_ID", "12"}};
const Environment kSrun{{"SLURM_NTASKS", "4"},
                        {"SLURM_STEP_NUM_TASKS", "4"},
                        {"SLURM_PROCID", "3"},
                        {"SLURM_LOCALID", "1"},
                        {"SLURM_MPI_TYPE", "none"}};
const Environment kOpenMpi{{"OMPI_COMM_WORLD_SIZE", "6"},
                           {"OMPI_COMM_WORLD_RANK", "5"},
                           {"OMPI_COMM_WORLD_LOCAL_RANK", "2"}};
const Environment kHydra{{"PMI_SIZE", "2"}, {"PMI_RANK", "1"}, {"MPI_LOCALRANKID", "1"}};

// `inner`, started from within `outer`.
Environment Within(Environment inner, const Environment& outer) {
  inner.insert(outer.begin(), outer.end());
  return inner;
}

void ExpectFacts(const LaunchFacts& facts, Launcher launcher, int processes, int rank,
                 int local_rank) {
  EXPECT_EQ(NameOf(facts.launcher), NameOf(launcher));
  EXPECT_EQ(facts.processes, processes);
  EXPECT_EQ(facts.rank, rank);
  EXPECT_EQ(facts.local_rank, local_rank);
}

TEST(DetectLaunch, KnowsTheLaunchers) {
  ExpectFacts(Detect({}), Launcher::kNone, 1, 0, 0);
  ExpectFacts(Detect(kBatchScript), Launcher::kNone, 1, 0, 0);
  ExpectFacts(Detect(kSrun), Launcher::kSlurm, 4, 3, 1);
  ExpectFacts(Detect(kOpenMpi), Launcher::kOpenMpi, 6, 5, 2);
  ExpectFacts(Detect(kHydra), Launcher::kHydra, 2, 1, 1);
}

TEST(DetectLaunch, AnMpirunInsideAJobIsTheLauncher) {
  ExpectFacts(Detect(Within(kOpenMpi, kBatchScript)), Launcher::kOpenMpi, 6, 5, 2);
  ExpectFacts(Detect(Within(kOpenMpi, kSrun)), Launcher::kOpenMpi, 6, 5, 2);
  ExpectFacts(Detect(Within(kHydra, kSrun)), Launcher::kHydra, 2, 1, 1);
}

TEST(DetectLaunch, SrunWithPmi2IsNotHydra) {
  ExpectFacts(Detect(Within({{"PMI_SIZE", "4"}, {"PMI_RANK", "3"}}, kSrun)), Launcher::kSlurm, 4, 3,
              1);
}

TEST(DetectLaunch, ABrokenVariableIsNamed) {
  for (const char* text : {"", "four", "4x", "-4"}) {
    Environment environment = kSrun;
    environment["SLURM_STEP_NUM_TASKS"] = text;
    try {
      Detect(environment);
      ADD_FAILURE() << text;
    } catch (const ConfigError& error) {
      EXPECT_THAT(error.what(), HasSubstr("SLURM_STEP_NUM_TASKS"));
    }
  }
}

TEST(LaunchProblem, NoneWhenCountsAgreeOrNobodyCounted) {
  EXPECT_EQ(LaunchProblem(Detect({}), {}), "");
  EXPECT_EQ(LaunchProblem(Detect(kBatchScript), {}), "");
  EXPECT_EQ(LaunchProblem(Detect(kBatchScript), {true, "Open MPI 4.1.4", 1}), "");
  EXPECT_EQ(LaunchProblem(Detect(kSrun), {true, "MPICH 4.0.2", 4}), "");
  EXPECT_EQ(LaunchProblem(Detect(kOpenMpi), {true, "Open MPI 4.1.4", 6}), "");
  // One process is one process, whatever started it.
  EXPECT_EQ(LaunchProblem(Detect({{"SLURM_STEP_NUM_TASKS", "1"}}), {}), "");
  // A launcher that we do not know, but MPI does.
  EXPECT_EQ(LaunchProblem(Detect({}), {true, "MPI", 16}), "");
}

TEST(LaunchProblem, SrunWithoutTheRightPmi) {
  EXPECT_THAT(LaunchProblem(Detect(kSrun), {true, "Open MPI 4.1.4", 1}),
              AllOf(HasSubstr("srun started 4 processes"), HasSubstr("Open MPI 4.1.4 counts 1"),
                    HasSubstr("srun --mpi=pmix"), HasSubstr("this was --mpi=none")));
  EXPECT_THAT(LaunchProblem(Detect(kSrun), {true, "MPICH 4.0.2", 1}), HasSubstr("--mpi=pmi2"));
}

TEST(LaunchProblem, TheOtherLibrarysMpirun) {
  EXPECT_THAT(LaunchProblem(Detect(kHydra), {true, "Open MPI 4.1.4", 1}),
              AllOf(HasSubstr("MPICH's mpirun started 2"), HasSubstr("mpirun of Open MPI 4.1.4"),
                    HasSubstr("mpirun.openmpi")));
  EXPECT_THAT(LaunchProblem(Detect(kOpenMpi), {true, "MPICH 4.0.2", 1}),
              AllOf(HasSubstr("Open MPI's mpirun started 6"), HasSubstr("mpirun.mpich")));
}

TEST(LaunchProblem, NoMpiAtAll) {
  for (const Environment& environment : {kSrun, kOpenMpi, kHydra}) {
    EXPECT_THAT(
        LaunchProblem(Detect(environment), {}),
        AllOf(HasSubstr("built without MPI"), HasSubstr("-DANNULUS_MPI=ON"), HasSubstr("--ranks")));
  }
}

}  // namespace
}  // namespace annulus::parallel
