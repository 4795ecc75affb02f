// The communicator over NCCL, on the stand-in: its results under every order that streams allow,
// and how it fails.
#include "parallel/nccl_communicator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <stdexcept>
#include <tuple>
#include <vector>

#include "kernels/base/error.h"
#include "parallel/local_communicator.h"
#include "tests/cuda/emulator/memory.h"
#include "tests/cuda/emulator/options.h"
#include "tests/cuda/emulator/report.h"
#include "tests/cuda/nccl/control.h"
#include "tests/cuda/nccl/device_ranks.h"

namespace annulus::parallel {
namespace {

using kernels::DType;
using testing::AllOf;
using testing::HasSubstr;
using namespace std::chrono_literals;

// Every test ends without a communicator of NCCL, whatever failed.
class Nccl : public testing::Test {
 protected:
  ~Nccl() override { EXPECT_EQ(nccl_stand_in::LiveComms(), 0); }
};

class NcclSuite : public Nccl,
                  public testing::WithParamInterface<std::tuple<CommunicatorCase, int>> {};

TEST_P(NcclSuite, Holds) {
  const auto& [test_case, ranks] = GetParam();
  const auto run = [&](const std::string& told) {
    SCOPED_TRACE(told);
    RunDeviceRanks({.ranks = ranks}, [&](const DeviceRank& rank) {
      const TensorsIn tensors(rank.tensors);
      test_case.run(rank.world);
    });
  };
  // The race detector needs no other order to see what nothing orders.
  if (emulator::RacesAreDetected()) return run("in order");
  // Orders at random are left to the flavour that is fastest.
  emulator::ForEachSchedule(emulator::AddressSanitized() ? 0 : 1, run);
}

INSTANTIATE_TEST_SUITE_P(Ranks, NcclSuite,
                         testing::Combine(testing::ValuesIn(CommunicatorCasesOfDevices()),
                                          testing::Values(1, 2, 3, 4)),
                         [](const auto& param) {
                           return std::get<0>(param.param).name + std::string("On") +
                                  std::to_string(std::get<1>(param.param));
                         });

// The message of the Error that `body` ends with.
template <class Error>
std::string ErrorOf(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.what();
  } catch (const std::exception& error) {
    return std::string("another exception: ") + error.what();
  }
  return "no exception";
}

// Some floats on a rank's device.
class Tensor {
 public:
  Tensor(DeviceTensors& tensors, float value, int64_t size = 100)
      : tensors_(tensors), values_(static_cast<size_t>(size), value) {
    data_ = tensors.Allocate(bytes());
    tensors.Upload(values_.data(), data_, bytes());
  }
  ~Tensor() { tensors_.Free(data_); }
  Tensor(const Tensor&) = delete;
  Tensor& operator=(const Tensor&) = delete;

  View view() const { return {data_, DType::kF32, {static_cast<int64_t>(values_.size())}}; }
  // The first element, once the compute stream is there.
  float Read() {
    tensors_.Download(data_, values_.data(), bytes());
    return values_.front();
  }

 private:
  int64_t bytes() const { return static_cast<int64_t>(values_.size() * sizeof(float)); }

  DeviceTensors& tensors_;
  std::vector<float> values_;
  void* data_;
};

TEST_F(Nccl, RanksThatShareADeviceAreRefused) {
  const auto body = [](Communicator& host) {
    kernels::cuda::UseDevice(host.rank() / 2);
    const kernels::cuda::Stream compute;
    CreateNcclWorld(host, {.compute = compute.get()});
  };
  EXPECT_THAT(ErrorOf<ConfigError>([&] { RunRanks(3, body, 10s); }),
              AllOf(HasSubstr("ranks 0 and 1 share one ("), HasSubstr("GPU 0000:01:00.0"),
                    HasSubstr("--parallel.transport mpi")));
}

TEST_F(Nccl, AWaitEndsAtTheDeadlineAndNamesThePeers) {
  const std::string error = ErrorOf<SystemError>([] {
    RunDeviceRanks({.ranks = 3, .deadline = 50ms}, [](const DeviceRank& rank) {
      if (rank.world.rank() != 1) {
        // Must not be the first to fail.
        while (true) rank.world.Progress();
      }
      Tensor out(rank.tensors, 1), in(rank.tensors, 0);
      rank.world.Start({out.view(), 0, in.view(), 2}).Wait();
      in.Read();
    });
  });
  EXPECT_THAT(error, AllOf(HasSubstr("rank 1: exchange with ranks 0, 2 over NCCL"),
                           HasSubstr("within 0.05 s")));
}

TEST_F(Nccl, ErrorsOfASubgroupNameRanksOfTheWorld) {
  const std::string error = ErrorOf<SystemError>([] {
    RunDeviceRanks({.ranks = 4, .deadline = 500ms}, [](const DeviceRank& rank) {
      const std::unique_ptr<Communicator> half = rank.world.Split(rank.world.rank() % 2);
      if (rank.world.rank() != 1) {
        while (true) rank.world.Progress();
      }
      Tensor data(rank.tensors, 1);
      half->AllReduceSum(data.view()).Wait();
      data.Read();
    });
  });
  EXPECT_THAT(error, HasSubstr("rank 1: all-reduce with rank 3 over NCCL"));
}

// Its peers would learn of the failure only after the hour.
TEST_F(Nccl, ARankThatFailsIsHeardOfByWhoWaitsForItsMessages) {
  const auto body = [](const DeviceRank& rank) {
    if (rank.world.rank() == 1) throw ConfigError("no such file");
    Tensor in(rank.tensors, 0);
    Transfer transfer = rank.world.Start({.receive = in.view(), .from = 1});
    transfer.Wait();
    EXPECT_EQ(ErrorOf<SystemError>([&] { in.Read(); }), "rank 1 failed: no such file");
    EXPECT_THAT(ErrorOf<SystemError>([&] { rank.world.Barrier(); }),
                HasSubstr("given up after an earlier failure: rank 1 failed: no such file"));
  };
  EXPECT_THROW(RunDeviceRanks({.ranks = 2, .deadline = 1h}, body), ConfigError);
}

TEST_F(Nccl, ARankThatFailsDoesNotWaitForWhatIsUnderWay) {
  const auto body = [](const DeviceRank& rank) {
    Tensor out(rank.tensors, 1), in(rank.tensors, 0);
    const int peer = 1 - rank.world.rank();
    const Transfer receive =
        rank.world.Start({.receive = in.view(), .from = peer, .tag = rank.world.rank()});
    if (rank.world.rank() == 1) throw ConfigError("no such file");
    EXPECT_THAT(ErrorOf<SystemError>([&] {
                  while (true) rank.world.Progress();
                }),
                HasSubstr("rank 1 failed: no such file"));
  };
  EXPECT_THROW(RunDeviceRanks({.ranks = 2, .deadline = 1h}, body), ConfigError);
}

TEST_F(Nccl, WhatNcclFindsWrongEndsAWait) {
  const auto body = [](const DeviceRank& rank) {
    if (rank.world.rank() == 1) {
      while (true) rank.world.Progress();
    }
    Tensor in(rank.tensors, 0);
    Transfer transfer = rank.world.Start({.receive = in.view(), .from = 1});
    transfer.Wait();
    nccl_stand_in::FailDevice(ncclRemoteError);
    in.Read();
  };
  EXPECT_THAT(
      ErrorOf<SystemError>([&] { RunDeviceRanks({.ranks = 2, .deadline = 1h}, body); }),
      AllOf(HasSubstr("rank 0: ncclCommGetAsyncError on device 0"), HasSubstr("network error")));
}

// The transfers of a batch are under way once it is launched.
TEST_F(Nccl, AMessageOfABatchIsNotWaitedForBeforeItsLaunch) {
  const auto body = [](const DeviceRank& rank) {
    Tensor out(rank.tensors, 1);
    const Communicator::Batch batch(rank.world);
    Transfer transfer = rank.world.Start({.send = out.view(), .to = 1 - rank.world.rank()});
    transfer.Wait();
  };
  EXPECT_THROW(RunDeviceRanks({.ranks = 2}, body), InternalError);
}

// Planted: a send and a receive that should be one batch.
TEST_F(Nccl, WithoutABatchRanksWaitForEachOther) {
  const auto body = [](const DeviceRank& rank) {
    Tensor out(rank.tensors, 1), in(rank.tensors, 0);
    const int peer = 1 - rank.world.rank();
    Transfer send = rank.world.Start({.send = out.view(), .to = peer});
    Transfer receive = rank.world.Start({.receive = in.view(), .from = peer});
    receive.Wait();
    in.Read();
  };
  EXPECT_THAT(ErrorOf<SystemError>([&] { RunDeviceRanks({.ranks = 2, .deadline = 100ms}, body); }),
              HasSubstr("exchange with rank"));
  std::string told;
  for (const emulator::Report& report : emulator::TakeReports()) {
    EXPECT_EQ(report.defect, emulator::Defect::kDeadlock) << report.text;
    told += report.text;
  }
  EXPECT_THAT(told,
              AllOf(HasSubstr("ncclSend from rank 0 to rank 1 waits for ncclRecv on rank 1"),
                    HasSubstr("ncclSend from rank 1 to rank 0 waits for ncclRecv on rank 0")));
}

// Planted: what was received is read before the wait. The wait is what holds the device up: the
// host goes on at once.
TEST_F(Nccl, WithoutAWaitOldDataIsRead) {
  RunDeviceRanks({.ranks = 2}, [](const DeviceRank& rank) {
    Tensor out(rank.tensors, 1), in(rank.tensors, 0);
    const int peer = 1 - rank.world.rank();
    if (rank.world.rank() == 1) rank.world.Barrier();
    Transfer transfer = rank.world.Start({out.view(), peer, in.view(), peer});
    if (rank.world.rank() == 0) {
      EXPECT_EQ(in.Read(), 0);
      rank.world.Barrier();
    }
    transfer.Wait();
    EXPECT_EQ(in.Read(), 1);
  });
  // Where races are looked for, the early read is told of.
  std::string told;
  for (const emulator::Report& report : emulator::TakeReports()) told += report.text;
  if (emulator::RacesAreDetected()) {
    EXPECT_THAT(told, HasSubstr("ncclRecv on rank 0 from rank 1 writes what other work has read"));
  } else {
    EXPECT_EQ(told, "");
  }
}

TEST_F(Nccl, WaitsOfTheDeviceAreCounted) {
  RunDeviceRanks({.ranks = 2}, [](const DeviceRank& rank) {
    Tensor out(rank.tensors, 1), in(rank.tensors, 0);
    const int peer = 1 - rank.world.rank();
    const std::unique_ptr<Communicator> pair = rank.world.Subgroup({0, 1});
    Transfer transfer = pair->Start({out.view(), peer, in.view(), peer});
    transfer.Wait();
    const double host_ms = pair->counters().wait_ms;
    in.Read();
    EXPECT_GT(pair->counters().wait_ms, host_ms);
    EXPECT_GE(rank.world.all_counters().wait_ms, pair->counters().wait_ms);
  });
}

TEST_F(Nccl, StagingMemoryMayBeSmall) {
  for (const int64_t bytes : {int64_t{12}, int64_t{1000}}) {
    RunDeviceRanks({.ranks = 4, .staging_bytes = bytes}, [](const DeviceRank& rank) {
      Tensor data(rank.tensors, static_cast<float>(rank.world.rank() + 1), 11);
      rank.world.AllReduceSum(data.view()).Wait();
      EXPECT_EQ(data.Read(), 10);
    });
  }
}

}  // namespace
}  // namespace annulus::parallel
