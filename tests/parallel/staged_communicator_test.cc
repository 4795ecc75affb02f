#include "parallel/staged_communicator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <tuple>

#include "kernels/cpu/cpu_table.h"
#include "parallel/local_communicator.h"
#include "tests/parallel/communicator_suite.h"

namespace annulus::parallel {
namespace {

using kernels::DType;
using namespace std::chrono_literals;

// Counts copies, and is busy for a while.
class CountingTable final : public kernels::CpuTable {
 public:
  CountingTable() : CpuTable(1) {}

  void CopyToHost(ConstView from, void* to) override {
    host_.insert(to);
    CpuTable::CopyToHost(from, to);
  }
  void CopyFromHost(const void* from, View to) override {
    ++uploads_;
    CpuTable::CopyFromHost(from, to);
  }
  bool Idle() override { return ++questions_ % 3 == 0; }

  size_t staging_blocks() const { return host_.size(); }
  int uploads() const { return uploads_; }
  int questions() const { return questions_; }

 private:
  std::set<void*> host_;
  int uploads_ = 0;
  int questions_ = 0;
};

class StagedSuite : public testing::TestWithParam<std::tuple<CommunicatorCase, int>> {};

TEST_P(StagedSuite, Holds) {
  const auto& [test_case, ranks] = GetParam();
  RunRanks(
      ranks,
      [&, run = test_case.run](Communicator& host) {
        kernels::CpuTable table(1);
        StagedCommunicator staged(host, table);
        run(staged);
      },
      60s);
}

INSTANTIATE_TEST_SUITE_P(Ranks, StagedSuite,
                         testing::Combine(testing::ValuesIn(CommunicatorCasesOfDevices()),
                                          testing::Values(1, 2, 3, 4)),
                         [](const auto& param) {
                           return std::get<0>(param.param).name + std::string("On") +
                                  std::to_string(std::get<1>(param.param));
                         });

// One turn of a ring.
void Shift(Communicator& ring, std::vector<float>& mine, std::vector<float>& theirs) {
  const auto size = static_cast<int64_t>(mine.size());
  ring.Start({.send = ConstView(mine.data(), DType::kF32, {size}),
              .to = (ring.rank() + 1) % ring.size(),
              .receive = View(theirs.data(), DType::kF32, {size}),
              .from = (ring.rank() + ring.size() - 1) % ring.size()})
      .Wait();
}

TEST(StagedCommunicator, TakesTheSameMemoryAgain) {
  RunRanks(3, [](Communicator& host) {
    CountingTable table;
    StagedCommunicator ring(host, table);
    std::vector<float> mine(100, static_cast<float>(ring.rank())), theirs(100);
    Shift(ring, mine, theirs);
    const int64_t bytes = ring.staging().bytes();
    EXPECT_EQ(bytes, 2 * 100 * 4);
    for (int step = 0; step < 5; ++step) Shift(ring, mine, theirs);
    EXPECT_EQ(ring.staging().bytes(), bytes);
    EXPECT_LE(table.staging_blocks(), 2u);
    EXPECT_EQ(table.uploads(), 6);
    EXPECT_EQ(theirs[99], static_cast<float>((ring.rank() + 2) % 3));
    EXPECT_EQ(ring.counters().bytes_sent, 6 * 100 * 4);
  });
}

TEST(StagedCommunicator, RanksShareNoMemory) {
  RunRanks(3, [](Communicator& host) {
    kernels::CpuTable table(1);
    StagedCommunicator ring(host, table);
    EXPECT_EQ(ring.FindMemoryNodes(), (std::vector<int>{0, 1, 2}));
    ring.ShareMemory(ring.FindMemoryNodes());
    EXPECT_TRUE(ring.MemoryNodes().empty());
    float x = 0;
    EXPECT_THROW(ring.Lend(ConstView(&x, DType::kF32, {1}), (ring.rank() + 1) % 3, 0),
                 InternalError);
  });
}

// What the device still computes is no waiting.
TEST(StagedCommunicator, WaitsForTheDeviceFirst) {
  RunRanks(2, [](Communicator& host) {
    CountingTable table;
    StagedCommunicator ring(host, table);
    std::vector<float> mine(4, 1.0f), theirs(4);
    Shift(ring, mine, theirs);
    EXPECT_EQ(table.questions(), 3);
  });
}

TEST(StagedCommunicator, FailuresAreTheHostGroups) {
  try {
    RunRanks(2, [](Communicator& host) {
      kernels::CpuTable table(1);
      StagedCommunicator ring(host, table);
      if (ring.rank() == 1) throw SystemError("the disk is full");
      std::vector<float> mine(4, 1.0f), theirs(4);
      Shift(ring, mine, theirs);
    });
    ADD_FAILURE() << "nothing was thrown";
  } catch (const SystemError& error) {
    EXPECT_STREQ(error.what(), "the disk is full");
  }
}

}  // namespace
}  // namespace annulus::parallel
