// What a schedule costs: a dry run counts what a run takes, and two runs give the same bits.
#include <gtest/gtest.h>

#include <chrono>
#include <thread>
#include <tuple>

#include "tests/parallel/ring_case.h"

namespace annulus::parallel {
namespace {

using kernels::DType;
using kernels::MaskKind;

class RingCostTest : public testing::TestWithParam<RingCase> {};

TEST_P(RingCostTest, ADryRunCountsWhatARunTakes) {
  const Whole whole(GetParam());
  for (const ScheduleSpec& schedule : SchedulesFor(GetParam().ranks)) {
    SCOPED_TRACE(Describe(schedule));
    const RingResults results = RunRing(whole, GetParam(), schedule);
    for (int rank = 0; rank < GetParam().ranks; ++rank) {
      EXPECT_EQ(RunRingDry(whole, GetParam(), schedule, rank),
                results.cost[static_cast<size_t>(rank)])
          << "rank " << rank;
    }
  }
}

// Whoever comes first: in one run the first ranks are late, in the other the last ones.
TEST_P(RingCostTest, ResultsDoNotDependOnWhoIsLate) {
  using std::chrono::milliseconds;
  const Whole whole(GetParam());
  const int ranks = GetParam().ranks;
  const auto bits = [](const RingResults& r) { return std::tie(r.out, r.lse, r.dq, r.dk, r.dv); };
  for (const ScheduleSpec& schedule : SchedulesFor(ranks)) {
    const RingResults first = RunRing(whole, GetParam(), schedule, [ranks](int rank) {
      std::this_thread::sleep_for(milliseconds(2 * (ranks - rank)));
    });
    const RingResults second = RunRing(whole, GetParam(), schedule, [](int rank) {
      std::this_thread::sleep_for(milliseconds(2 * rank));
    });
    EXPECT_TRUE(bits(first) == bits(second)) << Describe(schedule);
  }
}

std::vector<RingCase> Cases() {
  std::vector<RingCase> cases;
  for (int ranks : {1, 2, 3, 4, 7, 8}) {
    for (PartitionKind partition :
         {PartitionKind::kContiguous, PartitionKind::kZigzag, PartitionKind::kStriped}) {
      for (MaskKind mask : {MaskKind::kCausal, MaskKind::kFull, MaskKind::kWindow}) {
        cases.push_back({ranks, partition, mask, 2, 85});
      }
    }
  }
  cases.push_back({4, PartitionKind::kZigzag, MaskKind::kCausal, 4, 67, DType::kBF16});
  return cases;
}

INSTANTIATE_TEST_SUITE_P(All, RingCostTest, testing::ValuesIn(Cases()),
                         testing::PrintToStringParamName());

// Keys travel in their own dtype, their gradients in f32.
TEST(RingTraffic, OfBf16KeysIsHalf) {
  constexpr int64_t kLength = 64, kRanks = 4, kTokens = kLength / kRanks;
  constexpr int64_t kBlock = 2 * kBatch * kTokens * 2 * kHeadDim;  // keys and values of 2 heads
  for (DType dtype : {DType::kF32, DType::kBF16}) {
    const RingCase c{kRanks, PartitionKind::kZigzag, MaskKind::kCausal, 2, kLength, dtype};
    for (const RankCost& cost : RunRing(Whole(c), c, {}).cost) {
      EXPECT_EQ(cost.bytes_sent, 2 * (kRanks - 1) * kBlock * SizeOf(dtype) + kRanks * kBlock * 4);
    }
  }
}

}  // namespace
}  // namespace annulus::parallel
