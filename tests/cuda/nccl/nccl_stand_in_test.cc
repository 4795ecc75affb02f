// The stand-in itself: it moves what NCCL would, and every misuse that NCCL would hang on, or
// answer with wrong data, is caught. Each test plants one.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <latch>
#include <string>
#include <thread>
#include <vector>

#include "tests/cuda/emulator/options.h"
#include "tests/cuda/emulator/report.h"
#include "tests/cuda/emulator/streams.h"
#include "tests/cuda/nccl/control.h"
#include "tests/cuda/nccl/include/nccl.h"

namespace annulus::nccl_stand_in {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr size_t kCount = 50;
constexpr size_t kBytes = kCount * sizeof(float);

// A rank's device: what it sends and receives, and two streams.
class Rank {
 public:
  Rank(int rank, int ranks, const ncclUniqueId& id, bool blocking) {
    EXPECT_EQ(cudaSetDevice(rank), cudaSuccess);
    EXPECT_EQ(cudaMalloc(&out, kBytes), cudaSuccess);
    EXPECT_EQ(cudaMalloc(&in, kBytes), cudaSuccess);
    EXPECT_EQ(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), cudaSuccess);
    EXPECT_EQ(cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking), cudaSuccess);
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = blocking ? 1 : 0;
    const ncclResult_t result = ncclCommInitRankConfig(&comm, ranks, id, rank, &config);
    EXPECT_EQ(result, blocking ? ncclSuccess : ncclInProgress);
    peer = (rank + 1) % ranks;
  }
  ~Rank() {
    if (comm != nullptr) ncclCommAbort(comm);
    cudaStreamDestroy(stream);
    cudaStreamDestroy(other);
    cudaFree(out);
    cudaFree(in);
  }
  Rank(const Rank&) = delete;
  Rank& operator=(const Rank&) = delete;

  // `value` in what is sent, once `on` is there.
  void Fill(float value, cudaStream_t on) const {
    const std::vector<float> values(kCount, value);
    cudaMemcpyAsync(out, values.data(), kBytes, cudaMemcpyHostToDevice, on);
  }
  // What was received, without waiting for a stream but `on`.
  float Read(cudaStream_t on) const {
    std::vector<float> values(kCount);
    cudaMemcpyAsync(values.data(), in, kBytes, cudaMemcpyDeviceToHost, on);
    cudaStreamSynchronize(on);
    return values.front();
  }
  void Exchange() const {
    ncclGroupStart();
    ncclSend(out, kCount, ncclFloat32, peer, comm, stream);
    ncclRecv(in, kCount, ncclFloat32, peer, comm, stream);
    ncclGroupEnd();
  }
  ncclResult_t State() const {
    ncclResult_t state = ncclSuccess;
    EXPECT_EQ(ncclCommGetAsyncError(comm, &state), ncclSuccess);
    return state;
  }

  float* out = nullptr;
  float* in = nullptr;
  cudaStream_t stream = nullptr;
  cudaStream_t other = nullptr;
  ncclComm_t comm = nullptr;
  int peer = 0;
};

class StandIn : public testing::Test {
 protected:
  StandIn() { emulator::TheOptions().patience_s = 0.3; }
  ~StandIn() override {
    emulator::TheOptions() = before_;
    EXPECT_EQ(LiveComms(), 0);
  }

  // On so many ranks at once, each on a thread of its own; no rank ends before all are done.
  static void OnRanks(int ranks, const std::function<void(int, Rank&)>& body,
                      bool blocking = true) {
    ncclUniqueId id;
    ncclGetUniqueId(&id);
    std::latch done(ranks);
    std::vector<std::jthread> threads;
    for (int r = 0; r < ranks; ++r) {
      threads.emplace_back([&, r] {
        Rank rank(r, ranks, id, blocking);
        body(r, rank);
        done.arrive_and_wait();
      });
    }
  }

  // What was told since the last call, of one kind all.
  static std::string Told(emulator::Defect defect) {
    std::string told;
    for (const emulator::Report& report : emulator::TakeReports()) {
      EXPECT_EQ(report.defect, defect) << report.text;
      told += report.text + "\n";
    }
    emulator::ForgetErrors();
    return told;
  }

 private:
  const emulator::Options before_ = emulator::TheOptions();
};

TEST_F(StandIn, AGroupMovesBothWays) {
  emulator::ForEachSchedule(3, [](const std::string&) {
    OnRanks(2, [](int r, Rank& rank) {
      rank.Fill(static_cast<float>(r), rank.stream);
      rank.Exchange();
      EXPECT_EQ(rank.Read(rank.stream), 1 - r);
    });
  });
}

TEST_F(StandIn, ASendAndAReceiveInTurnNeedNoGroup) {
  OnRanks(2, [](int r, Rank& rank) {
    rank.Fill(static_cast<float>(r), rank.stream);
    if (r == 0) ncclSend(rank.out, kCount, ncclFloat32, 1, rank.comm, rank.stream);
    ncclRecv(rank.in, kCount, ncclFloat32, 1 - r, rank.comm, rank.stream);
    if (r == 1) ncclSend(rank.out, kCount, ncclFloat32, 0, rank.comm, rank.stream);
    EXPECT_EQ(rank.Read(rank.stream), 1 - r);
  });
}

TEST_F(StandIn, SendsWithoutAGroupWaitForEachOther) {
  OnRanks(3, [](int, Rank& rank) {
    ncclSend(rank.out, kCount, ncclFloat32, rank.peer, rank.comm, rank.stream);
    ncclRecv(rank.in, kCount, ncclFloat32, (rank.peer + 1) % 3, rank.comm, rank.stream);
    EXPECT_NE(cudaStreamSynchronize(rank.stream), cudaSuccess);
  });
  EXPECT_THAT(
      Told(emulator::Defect::kDeadlock),
      AllOf(HasSubstr("ranks wait for each other"),
            HasSubstr("ncclSend from rank 0 to rank 1 waits for ncclRecv on rank 1 from rank 0"),
            HasSubstr("ncclSend from rank 2 to rank 0 waits for")));
}

TEST_F(StandIn, GroupsInAnotherOrderWaitForEachOther) {
  OnRanks(2, [](int r, Rank& rank) {
    if (r == 0) {
      ncclSend(rank.out, kCount, ncclFloat32, 1, rank.comm, rank.stream);
      ncclBroadcast(rank.in, rank.in, kCount, ncclFloat32, 0, rank.comm, rank.stream);
    } else {
      ncclBroadcast(rank.in, rank.in, kCount, ncclFloat32, 0, rank.comm, rank.stream);
      ncclRecv(rank.in, kCount, ncclFloat32, 0, rank.comm, rank.stream);
    }
    EXPECT_NE(cudaStreamSynchronize(rank.stream), cudaSuccess);
  });
  EXPECT_THAT(Told(emulator::Defect::kDeadlock),
              AllOf(HasSubstr("ncclSend from rank 0 to rank 1 waits for"),
                    HasSubstr("ncclBroadcast on rank 1 from rank 0 waits for")));
}

TEST_F(StandIn, AMessageWithoutItsOtherSideHoldsTheStreamUp) {
  OnRanks(2, [](int r, Rank& rank) {
    if (r == 0) ncclSend(rank.out, kCount, ncclFloat32, 1, rank.comm, rank.stream);
    EXPECT_EQ(cudaStreamSynchronize(rank.stream) == cudaSuccess, r == 1);
  });
  EXPECT_THAT(Told(emulator::Defect::kDeadlock), HasSubstr("ncclSend from rank 0 to rank 1"));
}

// What is sent is written on another stream, which the one of the messages has to wait for.
TEST_F(StandIn, WithoutAnEventOldDataIsSent) {
  for (const bool has_event : {false, true}) {
    OnRanks(2, [&](int r, Rank& rank) {
      rank.Fill(static_cast<float>(r), rank.other);
      cudaEvent_t filled = nullptr;
      cudaEventCreateWithFlags(&filled, cudaEventDisableTiming);
      cudaEventRecord(filled, rank.other);
      if (has_event) cudaStreamWaitEvent(rank.stream, filled, 0);
      rank.Exchange();
      const float received = rank.Read(rank.stream);
      if (has_event) {
        EXPECT_EQ(received, 1 - r);
      } else {
        EXPECT_NE(received, 1 - r);
      }
      cudaEventDestroy(filled);
    });
    // Where races are looked for, whatever the order was.
    const std::string told = Told(emulator::Defect::kStream);
    if (has_event) EXPECT_EQ(told, "");
    if (!has_event && emulator::RacesAreDetected()) {
      EXPECT_THAT(told, HasSubstr("no event orders them"));
    }
  }
}

TEST_F(StandIn, SizesAndTypesThatDifferAreTold) {
  OnRanks(2, [](int r, Rank& rank) {
    if (r == 0) {
      ncclSend(rank.out, kCount, ncclFloat32, 1, rank.comm, rank.stream);
    } else {
      ncclRecv(rank.in, kCount - 1, ncclFloat32, 0, rank.comm, rank.stream);
    }
    cudaStreamSynchronize(rank.stream);
  });
  EXPECT_THAT(
      Told(emulator::Defect::kStream),
      HasSubstr("of 200 bytes of type 7 meets ncclRecv on rank 1 from rank 0 of 196 bytes"));
  OnRanks(2, [](int r, Rank& rank) {
    if (r == 0) {
      ncclAllGather(rank.out, rank.in, 10, ncclFloat32, rank.comm, rank.stream);
    } else {
      ncclBroadcast(rank.in, rank.in, 10, ncclFloat32, 0, rank.comm, rank.stream);
    }
    if (r == 1) cudaStreamSynchronize(rank.stream);
  });
  EXPECT_THAT(Told(emulator::Defect::kStream), HasSubstr("meets ncclBroadcast on rank 1"));
}

TEST_F(StandIn, MemoryOfAnotherDeviceAndBeyondTheEndIsRefused) {
  OnRanks(1, [](int, Rank& rank) {
    std::vector<float> host(kCount);
    EXPECT_EQ(ncclSend(host.data(), kCount, ncclFloat32, 0, rank.comm, rank.stream),
              ncclInvalidArgument);
    EXPECT_EQ(ncclSend(rank.out, kCount + 1, ncclFloat32, 0, rank.comm, rank.stream),
              ncclInvalidArgument);
    EXPECT_EQ(ncclSend(rank.out, kCount, ncclFloat32, 1, rank.comm, rank.stream),
              ncclInvalidArgument);
  });
  EXPECT_THAT(Told(emulator::Defect::kStream),
              AllOf(HasSubstr("not of its device"), HasSubstr("beyond the end"),
                    HasSubstr("a rank outside the group")));
}

TEST_F(StandIn, MixedGroupsAreRefused) {
  OnRanks(1, [](int, Rank& rank) {
    ncclGroupStart();
    ncclSend(rank.out, kCount, ncclFloat32, 0, rank.comm, rank.stream);
    ncclRecv(rank.in, kCount, ncclFloat32, 0, rank.comm, rank.other);
    EXPECT_EQ(ncclGroupEnd(), ncclInvalidUsage);
    ncclGroupStart();
    ncclSend(rank.out, kCount, ncclFloat32, 0, rank.comm, rank.stream);
    ncclAllGather(rank.out, rank.in, kCount, ncclFloat32, rank.comm, rank.stream);
    EXPECT_EQ(ncclGroupEnd(), ncclInvalidUsage);
    EXPECT_EQ(ncclGroupEnd(), ncclInvalidUsage);
  });
  EXPECT_THAT(Told(emulator::Defect::kStream),
              AllOf(HasSubstr("several streams"), HasSubstr("collectives and other calls"),
                    HasSubstr("without a start")));
}

TEST_F(StandIn, NothingIsDoneWithWhatIsNoMore) {
  OnRanks(1, [](int, Rank& rank) {
    ncclComm_t comm = rank.comm;
    rank.comm = nullptr;
    ncclCommAbort(comm);
    EXPECT_EQ(ncclSend(rank.out, kCount, ncclFloat32, 0, comm, rank.stream), ncclInvalidArgument);
    EXPECT_EQ(ncclCommAbort(comm), ncclInvalidArgument);
  });
  EXPECT_THAT(Told(emulator::Defect::kStream),
              AllOf(HasSubstr("ncclSend with a communicator that was aborted"),
                    HasSubstr("ncclCommAbort with a communicator that was aborted")));
}

// What does not block is on its stream only once the state was asked for.
TEST_F(StandIn, AnEventBeforeTheStateIsAskedForMissesTheMessages) {
  for (const bool asks : {false, true}) {
    OnRanks(
        2,
        [&](int r, Rank& rank) {
          while (rank.State() == ncclInProgress) std::this_thread::yield();
          rank.Fill(static_cast<float>(r), rank.stream);
          rank.Exchange();
          while (asks && rank.State() == ncclInProgress) {
          }
          cudaEvent_t done = nullptr;
          cudaEventCreateWithFlags(&done, cudaEventDisableTiming);
          cudaEventRecord(done, rank.stream);
          cudaStreamWaitEvent(rank.other, done, 0);
          const float received = rank.Read(rank.other);
          if (asks) {
            EXPECT_EQ(received, 1 - r);
          } else {
            EXPECT_NE(received, 1 - r);
          }
          cudaEventDestroy(done);
        },
        /*blocking=*/false);
  }
}

TEST_F(StandIn, CallsBeforeAllHaveJoinedAndTwoOnOneDeviceAreRefused) {
  ncclUniqueId id;
  ncclGetUniqueId(&id);
  {
    Rank rank(0, 2, id, /*blocking=*/false);
    EXPECT_EQ(rank.State(), ncclInProgress);
    EXPECT_EQ(ncclSend(rank.out, kCount, ncclFloat32, 1, rank.comm, rank.stream),
              ncclInvalidArgument);
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    ncclComm_t second = nullptr;
    EXPECT_EQ(ncclCommInitRankConfig(&second, 2, id, 1, &config), ncclInvalidUsage);
  }
  EXPECT_THAT(Told(emulator::Defect::kStream),
              AllOf(HasSubstr("before all ranks have joined"), HasSubstr("Duplicate GPU")));
}

// The peers of who aborts are not told: their messages stay where they are.
TEST_F(StandIn, AnAbortEndsWhatTheRankHasUnderWayAndNoMore) {
  std::latch aborted(1);
  OnRanks(2, [&](int r, Rank& rank) {
    rank.Exchange();
    if (r == 0) {
      ncclCommAbort(std::exchange(rank.comm, nullptr));
      EXPECT_EQ(cudaStreamSynchronize(rank.stream), cudaSuccess);
      aborted.count_down();
    } else {
      aborted.wait();
      EXPECT_NE(cudaStreamSynchronize(rank.stream), cudaSuccess);
    }
  });
  EXPECT_THAT(Told(emulator::Defect::kDeadlock), HasSubstr("rank 1"));
}

TEST_F(StandIn, AFailureIsFoundByWhoAsks) {
  OnRanks(1, [](int, Rank& rank) {
    EXPECT_EQ(rank.State(), ncclSuccess);
    FailDevice(ncclRemoteError);
    EXPECT_EQ(rank.State(), ncclRemoteError);
  });
}

}  // namespace
}  // namespace annulus::nccl_stand_in
