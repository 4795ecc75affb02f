// The communicator suite over MPI, and what becomes of a job in which a rank fails. Run under
// mpirun: mpi_communicator_test SCENARIO (see kScenarios).
#include "parallel/mpi_communicator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <cstdio>
#include <exception>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/base/error.h"
#include "tests/parallel/communicator_suite.h"

namespace annulus::parallel {
namespace {

using kernels::DType;
using namespace std::chrono_literals;

// What the cases run on: gtest constructs them, so they cannot be handed it.
Communicator* g_world = nullptr;
Communicator* g_piecewise = nullptr;  // cuts its messages into small pieces

class MpiSuite : public testing::TestWithParam<CommunicatorCase> {};

TEST_P(MpiSuite, Holds) { GetParam().run(*g_world); }

// As messages past 2^31 - 1 bytes travel.
TEST_P(MpiSuite, HoldsInPieces) { GetParam().run(*g_piecewise); }

INSTANTIATE_TEST_SUITE_P(Cases, MpiSuite,
                         testing::ValuesIn(CommunicatorCases().begin(), CommunicatorCases().end()),
                         [](const auto& param) { return std::string(param.param.name); });

TEST(Mpi, NamesItsLibrary) {
  EXPECT_TRUE(MpiAvailable());
  EXPECT_THAT(g_world->Name(), testing::MatchesRegex("MPI \\((Open MPI|MPICH) [0-9][0-9.a-z]+\\)"));
}

// Exchanges with the other of two ranks.
void Swap(Communicator& world, int64_t send, int64_t receive) {
  std::vector<float> out(static_cast<size_t>(send)), in(static_cast<size_t>(receive));
  const int peer = 1 - world.rank();
  world
      .Start({View(out.data(), DType::kF32, {send}), peer, View(in.data(), DType::kF32, {receive}),
              peer})
      .Wait();
}

int RunSuite(const MpiSession& session) {
  const auto world = CreateMpiWorld(session, {.deadline = 60s});
  const auto piecewise = CreateMpiWorld(session, {.deadline = 60s, .piece_bytes = 1009});
  g_world = world.get();
  g_piecewise = piecewise.get();
  return RUN_ALL_TESTS();
}

// A stopped process neither answers nor dies: only the deadline sees it.
int Stopped(const MpiSession& session) {
  const auto world = CreateMpiWorld(session, {.deadline = 300ms});
  world->Barrier();
  if (world->rank() == 1) std::raise(SIGSTOP);
  Swap(*world, 1 << 20, 1 << 20);
  return 0;
}

int Fails(const MpiSession& session) {
  const auto world = CreateMpiWorld(session);
  if (world->rank() == 1) throw ConfigError("no such file");
  world->Barrier();
  return 0;
}

int MismatchedSizes(const MpiSession& session) {
  const auto world = CreateMpiWorld(session, {.deadline = 60s});
  Swap(*world, world->rank() == 0 ? 3 : 4, 4);
  world->Barrier();
  return 0;
}

struct Scenario {
  std::string_view name;
  int (*run)(const MpiSession& session);
  bool aborts;  // on an exception; otherwise the process just ends
};
constexpr Scenario kScenarios[] = {
    {"suite", RunSuite, true},
    {"stopped", Stopped, true},
    {"fails", Fails, true},
    {"fails-without-abort", Fails, false},
    {"mismatched-sizes", MismatchedSizes, true},
};

// As a program's main does it: the session outlives the try block, so that Abort finds MPI alive.
int RunAborting(const Scenario& scenario) {
  const MpiSession session;
  try {
    return scenario.run(session);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "caught: %s\n", error.what());
    session.Abort(2);
  }
}

int RunUnwinding(const Scenario& scenario) {
  try {
    const MpiSession session;
    return scenario.run(session);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "caught: %s\n", error.what());
    return 2;
  }
}

}  // namespace
}  // namespace annulus::parallel

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  // A rank that went on after an exception would leave its peers waiting.
  GTEST_FLAG_SET(catch_exceptions, false);
  for (const auto& scenario : annulus::parallel::kScenarios) {
    if (argc < 2 || scenario.name != argv[1]) continue;
    return scenario.aborts ? RunAborting(scenario) : RunUnwinding(scenario);
  }
  std::fprintf(stderr, "which scenario?\n");
  return 2;
}
