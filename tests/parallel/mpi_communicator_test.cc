// The communicator suite over MPI, and what becomes of a job in which a rank fails. Run under
// mpirun: mpi_communicator_test SCENARIO (see kScenarios).
#include "parallel/mpi_communicator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <cstdio>
#include <exception>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/base/error.h"
#include "tests/parallel/communicator_suite.h"
#include "tests/parallel/repeated_memory.h"

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

constexpr int64_t kPieceBytes = 1009;

// Messages about as long as one piece and as two.
TEST(MpiPieces, EndWhereTheMessageDoes) {
  const int size = g_piecewise->size(), rank = g_piecewise->rank();
  const int64_t before = g_piecewise->counters().messages;
  constexpr int64_t kLengths[] = {kPieceBytes - 1, kPieceBytes, kPieceBytes + 1, 2 * kPieceBytes,
                                  2 * kPieceBytes + 1};
  for (const int64_t bytes : kLengths) {
    const auto text = [&](int of) {
      std::string said(static_cast<size_t>(bytes), '\0');
      for (size_t i = 0; i < said.size(); ++i) said[i] = static_cast<char>(i % 251 + of);
      return said;
    };
    std::string out = text(rank), in(out.size() + 1, '!');
    g_piecewise
        ->Start({View(out.data(), DType::kByte, {bytes}), (rank + 1) % size,
                 View(in.data(), DType::kByte, {bytes}), (rank + size - 1) % size})
        .Wait();
    EXPECT_EQ(in, text((rank + size - 1) % size) + "!") << bytes;
  }
  // Pieces are the transport's affair.
  EXPECT_EQ(g_piecewise->counters().messages - before, size > 1 ? std::ssize(kLengths) : 0);
}

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
  const auto piecewise = CreateMpiWorld(session, {.deadline = 60s, .piece_bytes = kPieceBytes});
  g_world = world.get();
  g_piecewise = piecewise.get();
  return RUN_ALL_TESTS();
}

// A message past what an int counts, in the pieces that a run uses. A piece in a wrong place would
// show, for none begins where a window does.
int MoreThanAnIntCounts(const MpiSession& session) {
  const auto world = CreateMpiWorld(session, {.deadline = 100s});
  constexpr int64_t kBytes = (int64_t{1} << 31) + (int64_t{3} << 20), kWindow = int64_t{5} << 20;
  const auto said = [](int64_t i) { return static_cast<uint8_t>(i % 253 + 1); };
  RepeatedMemory data(kBytes, kWindow);
  if (world->rank() == 0) {
    for (int64_t i = 0; i < kWindow; ++i) data.window()[i] = said(i);
    world->Start({.send = data.view(), .to = 1}).Wait();
  } else {
    world->Start({.receive = data.view(), .from = 0}).Wait();
    for (int64_t i = 0; i < kWindow; ++i) {
      if (data.window()[i] != said(i)) throw std::runtime_error("a wrong byte came");
    }
    std::printf("all of them came\n");
  }
  const int64_t sent = world->rank() == 0 ? kBytes : 0;
  if (world->counters().bytes_sent != sent) throw std::runtime_error("miscounted");
  return 0;
}

// A stopped process neither answers nor dies: only the deadline sees it.
int Stopped(const MpiSession& session) {
  const auto world = CreateMpiWorld(session, {.deadline = 300ms});
  world->Barrier();
  if (world->rank() == 1) std::raise(SIGSTOP);
  Swap(*world, 1 << 20, 1 << 20);
  return 0;
}

// Rank 0 lends a block to rank 1, and `lender` and `borrower` go on from there.
int Lends(const MpiSession& session, std::chrono::steady_clock::duration deadline,
          const std::function<void(Transfer& lent)>& lender,
          const std::function<void(Communicator& world, Loan& loan)>& borrower) {
  constexpr int64_t kBytes = int64_t{1} << 20;
  const auto world = CreateMpiWorld(session, {.deadline = deadline});
  world->ShareMemory(world->FindMemoryNodes());
  const std::unique_ptr<SharedRegion> region = world->ReserveShared(kBytes);
  const View block(region->data(), DType::kByte, {kBytes});
  if (world->rank() == 0) {
    Transfer lent = world->Lend(block, 1, 0);
    lender(lent);
  } else {
    Loan loan = world->Borrow(block, 0, 0);
    borrower(*world, loan);
  }
  return 0;
}

int LenderStops(const MpiSession& session) {
  return Lends(
      session, 300ms, [](Transfer&) { std::raise(SIGSTOP); },
      [](Communicator& world, Loan& loan) {
        loan.Open();
        loan.Return();
        world.Barrier();
      });
}

int BorrowerStops(const MpiSession& session) {
  return Lends(
      session, 300ms, [](Transfer& lent) { lent.Wait(); },
      [](Communicator&, Loan& loan) {
        loan.Open();
        std::raise(SIGSTOP);
      });
}

// While rank 1 reads the block again and again.
int LenderFails(const MpiSession& session) {
  return Lends(
      session, 60s, [](Transfer&) { throw ConfigError("the lender fails"); },
      [](Communicator&, Loan& loan) {
        const ConstView block = loan.Open();
        int64_t sum = 0;
        for (const auto* bytes = static_cast<const volatile char*>(block.data);;) {
          for (int64_t i = 0; i < block.size(); ++i) sum += bytes[i];
        }
      });
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
    {"more-than-an-int-counts", MoreThanAnIntCounts, true},
    {"stopped", Stopped, true},
    {"lender-stops", LenderStops, true},
    {"borrower-stops", BorrowerStops, true},
    {"lender-fails", LenderFails, true},
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
