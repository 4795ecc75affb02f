#include "parallel/local_communicator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <stdexcept>
#include <thread>
#include <tuple>
#include <vector>

#include "tests/parallel/communicator_suite.h"
#include "tests/parallel/error_of.h"

namespace annulus::parallel {
namespace {

using kernels::DType;
using testing::AllOf;
using testing::HasSubstr;
using testing::Test;
using namespace std::chrono_literals;

class LocalSuite : public testing::TestWithParam<std::tuple<CommunicatorCase, int>> {};

TEST_P(LocalSuite, Holds) {
  const auto& [test_case, ranks] = GetParam();
  RunRanks(ranks, test_case.run, 60s);
}

INSTANTIATE_TEST_SUITE_P(Ranks, LocalSuite,
                         testing::Combine(testing::ValuesIn(CommunicatorCases().begin(),
                                                            CommunicatorCases().end()),
                                          testing::Values(1, 2, 3, 4, 7, 8)),
                         [](const auto& param) {
                           return std::get<0>(param.param).name + std::string("On") +
                                  std::to_string(std::get<1>(param.param));
                         });

TEST(LocalCommunicator, AWaitEndsAtTheDeadlineAndNamesThePeer) {
  LocalGroup group(3, 30ms);
  const std::unique_ptr<Communicator> rank = group.Join(1);
  float out = 1, in = 0;
  Transfer transfer =
      rank->Start({View(&out, DType::kF32, {1}), 0, View(&in, DType::kF32, {1}), 2});
  EXPECT_THAT(ErrorOf<SystemError>([&] { transfer.Wait(); }),
              AllOf(HasSubstr("rank 1: exchange"), HasSubstr("nothing came from rank 2"),
                    HasSubstr("nothing was taken by rank 0"), HasSubstr("0.03 s")));
  EXPECT_GE(rank->counters().wait_ms, 30.0);
}

TEST(LocalCommunicator, ErrorsOfASubgroupNameRanksOfTheWorld) {
  const std::string error = ErrorOf<SystemError>([] {
    RunRanks(
        4,
        [](Communicator& world) {
          const std::unique_ptr<Communicator> half = world.Split(world.rank() % 2);
          if (world.rank() == 1) half->Barrier();
        },
        30ms);
  });
  EXPECT_THAT(error, AllOf(HasSubstr("rank 1: barrier"), HasSubstr("rank 3")));
}

TEST(LocalCommunicator, AfterAFailedWaitTheOtherTransfersDoNotWaitAgain) {
  LocalGroup group(2, 20ms);
  const std::unique_ptr<Communicator> rank = group.Join(0);
  std::vector<float> in(100);
  std::vector<Transfer> transfers;
  for (int tag = 0; tag < 100; ++tag) {
    transfers.push_back(rank->Start(
        {.receive = View(&in[static_cast<size_t>(tag)], DType::kF32, {1}), .from = 1, .tag = tag}));
  }
  EXPECT_THROW(transfers[50].Wait(), SystemError);
  EXPECT_EQ(ErrorOf<SystemError>([&] { transfers[51].Wait(); }),
            "rank 0: exchange given up after an earlier failure");
}

TEST(LocalCommunicator, ProgressMovesWhatNobodyWaitsFor) {
  std::atomic<bool> taken = false;
  const auto body = [&](Communicator& world) {
    float out = 1, in = 0;
    if (world.rank() == 0) {
      const Transfer receive = world.Start({.receive = View(&in, DType::kF32, {1}), .from = 1});
      while (!taken) world.Progress();
    } else {
      // Ends the other rank's loop if it must.
      Transfer send = world.Start({.send = View(&out, DType::kF32, {1}), .to = 0});
      const std::string error = ErrorOf<SystemError>([&] { send.Wait(); });
      taken = true;
      EXPECT_EQ(error, "no exception");
    }
  };
  RunRanks(2, body, 2s);
}

// Its peer would learn of the failure only after the hour.
TEST(LocalCommunicator, ARankThatFailsDoesNotWaitForWhatIsUnderWay) {
  const auto body = [](Communicator& world) {
    float out = 1, in = 0;
    const int peer = 1 - world.rank();
    const Transfer receive = world.Start({.receive = View(&in, DType::kF32, {1}), .from = peer});
    const Transfer send = world.Start({.send = View(&out, DType::kF32, {1}), .to = peer, .tag = 1});
    if (world.rank() == 1) throw ConfigError("no such file");
    EXPECT_EQ(ErrorOf<SystemError>([&] { world.Barrier(); }), "rank 1 failed: no such file");
  };
  EXPECT_THROW(RunRanks(2, body, 1h), ConfigError);
}

TEST(LocalCommunicator, AbortWakesEveryWaiterInEveryGroup) {
  std::atomic<int> split = 0, woken = 0;
  const auto body = [&](Communicator& world) {
    const std::unique_ptr<Communicator> half = world.Split(world.rank() / 2);
    ++split;
    if (world.rank() == 3) {
      while (split < 4) std::this_thread::sleep_for(1ms);
      throw ConfigError("no such file");
    }
    Communicator& group = world.rank() == 2 ? *half : world;
    const std::string error = ErrorOf<SystemError>([&] { group.Barrier(); });
    EXPECT_EQ(error, "rank 3 failed: no such file");
    ++woken;
    throw SystemError(error);
  };
  EXPECT_EQ(ErrorOf<ConfigError>([&] { RunRanks(4, body, 60s); }), "no such file");
  EXPECT_EQ(woken, 3);
}

TEST(LocalCommunicator, AnAbortedGroupStartsNothing) {
  LocalGroup group(2);
  const std::unique_ptr<Communicator> rank0 = group.Join(0), rank1 = group.Join(1);
  rank1->Abort("out of memory");
  rank0->Abort("a consequence");
  EXPECT_EQ(group.aborted_by(), 1);
  float out = 1;
  const auto start = [&] { rank0->Start({.send = View(&out, DType::kF32, {1}), .to = 1}); };
  EXPECT_EQ(ErrorOf<SystemError>(start), "rank 1 failed: out of memory");
}

TEST(LocalCommunicator, TheFirstCauseIsThrownAlsoWhenItsRankUnwindsLast) {
  std::atomic<int> ended = 0;
  const auto body = [&](Communicator& world) {
    if (world.rank() == 2) {
      world.Abort("the cause");
      while (ended < 2) std::this_thread::sleep_for(1ms);
      throw std::runtime_error("the cause");
    }
    const std::string error = ErrorOf<SystemError>([&] { world.Barrier(); });
    ++ended;
    throw SystemError(error);
  };
  EXPECT_EQ(ErrorOf<std::runtime_error>([&] { RunRanks(3, body, 60s); }), "the cause");
}

// The receiver may be copying while the sender unwinds; the buffer must outlive the copy.
TEST(LocalCommunicator, ASenderThatUnwindsKeepsItsBufferUntilItIsTaken) {
  const auto body = [](Communicator& world) {
    std::vector<float> data(1 << 20, 1.0f);
    const View view(data.data(), DType::kF32, {1 << 20});
    if (world.rank() == 0) {
      const Transfer transfer = world.Start({.send = view, .to = 1});
      throw std::runtime_error("unwinding");
    }
    world.Start({.receive = view, .from = 0}).Wait();
  };
  EXPECT_EQ(ErrorOf<std::runtime_error>([&] { RunRanks(2, body, 60s); }), "unwinding");
}

TEST(LocalCommunicator, MismatchesAreContractErrors) {
  std::vector<float> data(8);
  const auto sizes = [&](Communicator& world) {
    if (world.rank() == 0) {
      world.Start({.send = View(data.data(), DType::kF32, {3}), .to = 1}).Wait();
    } else {
      world.Start({.receive = View(data.data() + 4, DType::kF32, {4}), .from = 0}).Wait();
    }
  };
  EXPECT_THAT(ErrorOf<InternalError>([&] { RunRanks(2, sizes, 60s); }),
              AllOf(HasSubstr("sends 12 bytes"), HasSubstr("receives 16")));
  const auto tags = [&](Communicator& world) {
    const View view(data.data(), DType::kF32, {3});
    Transfer a = world.Start({.send = view, .to = 1, .tag = 5});
    Transfer b = world.Start({.send = view, .to = 1, .tag = 5});
  };
  LocalGroup group(2, 10ms);
  const std::unique_ptr<Communicator> rank = group.Join(0);
  EXPECT_THAT(ErrorOf<InternalError>([&] { tags(*rank); }), HasSubstr("tag 5"));
}

TEST(Communicator, ChecksItsArguments) {
  LocalGroup group(1);
  const std::unique_ptr<Communicator> self = group.Join(0);
  std::vector<float> data(12);
  const View view(data.data(), DType::kF32, {3, 4});
  const View bytes(data.data(), DType::kByte, {12});
  EXPECT_THROW(self->Start({.send = view.Transposed(), .to = 0}), InternalError);
  EXPECT_THROW(self->Start({.send = view, .to = 1}), InternalError);
  EXPECT_THROW(self->Start({.send = view, .to = 0, .tag = -1}), InternalError);
  EXPECT_THROW(self->Start({.send = view, .to = 0, .tag = Exchange::kTags}), InternalError);
  EXPECT_THROW(self->AllGather(view, bytes), InternalError);
  EXPECT_THROW(self->AllReduceSum(bytes), InternalError);
  EXPECT_THROW(self->Broadcast(view, 1), InternalError);
  EXPECT_THROW(self->Subgroup({}), InternalError);
  self->Start({}).Wait();  // nothing either way
}

TEST(Communicator, SharesCoverTheElementsOnce) {
  for (int size : {1, 2, 3, 7, 8}) {
    for (int64_t elements : {0, 1, 5, 8, 1001}) {
      int64_t next = 0;
      for (int rank = 0; rank < size; ++rank) {
        const Share share = ShareOf(elements, rank, size);
        EXPECT_EQ(share.begin, next);
        EXPECT_LE(share.size(), ShareOf(elements, 0, size).size());
        next = share.end;
      }
      EXPECT_EQ(next, elements);
    }
  }
}

}  // namespace
}  // namespace annulus::parallel
