// What a schedule costs: a dry run counts what a run takes, and two runs give the same bits.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <initializer_list>
#include <thread>
#include <tuple>

#include "kernels/base/error.h"
#include "tests/parallel/ring_case.h"

namespace annulus::parallel {
namespace {

using kernels::DType;
using kernels::MaskKind;

class RingCostTest : public testing::TestWithParam<RingCase> {};

TEST_P(RingCostTest, ADryRunCountsWhatARunTakes) {
  const Whole whole(GetParam());
  for (const ScheduleSpec& schedule : SchedulesFor(GetParam().ring())) {
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
  for (const ScheduleSpec& schedule : SchedulesFor(GetParam().ring())) {
    const RingResults first =
        RunRing(whole, GetParam(), schedule, {.before = [ranks](int rank) {
                  std::this_thread::sleep_for(milliseconds(2 * (ranks - rank)));
                }});
    const RingResults second =
        RunRing(whole, GetParam(), schedule,
                {.before = [](int rank) { std::this_thread::sleep_for(milliseconds(2 * rank)); }});
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
  for (int ulysses : {2, 3, 6}) {
    for (DType dtype : {DType::kF32, DType::kBF16}) {
      for (int64_t kv_heads : {1, 4, 12}) {
        cases.push_back({6, PartitionKind::kZigzag, MaskKind::kCausal, kv_heads, 85, dtype, ulysses,
                         /*heads=*/12});
      }
      cases.push_back({6, PartitionKind::kContiguous, MaskKind::kWindow, 5, 85, dtype, ulysses,
                       /*heads=*/10});
    }
  }
  return cases;
}

INSTANTIATE_TEST_SUITE_P(All, RingCostTest, testing::ValuesIn(ForThisBuild(WithNodes(Cases()))),
                         testing::PrintToStringParamName());

// Blocks that one rank of eight sends, and the most that it holds in flight.
struct Blocks {
  ScheduleSpec schedule;
  int64_t keys_sent;  // forward and backward together
  int64_t gradients_sent;
  int64_t keys_held;
  int64_t gradients_held;
};

TEST(RingCost, InBlocksIsWhatTheDocumentationSays) {
  const RingCase c{8, PartitionKind::kZigzag, MaskKind::kCausal, 2, 128};
  const int64_t block = 2 * kBatch * 16 * 2 * kHeadDim * SizeOf(DType::kF32);
  for (const Blocks& expected : std::initializer_list<Blocks>{
           {{.kind = ScheduleKind::kRing}, 14, 7, 2, 3},
           {{.kind = ScheduleKind::kAllGather}, 14, 7, 7, 3},
           {{.kind = ScheduleKind::kAllGather, .blocks_in_flight = 2}, 14, 7, 2, 3},
           {{.kind = ScheduleKind::kDoubleRing, .inner = 4}, 14, 7, 3, 3},
           {{.kind = ScheduleKind::kDoubleRing, .inner = 2}, 14, 7, 3, 3}}) {
    SCOPED_TRACE(Describe(expected.schedule));
    const int64_t sent = expected.keys_sent + expected.gradients_sent;
    for (int rank = 0; rank < c.ranks; ++rank) {
      const RankCost cost = RunRingDry(Whole(c), c, expected.schedule, rank);
      EXPECT_EQ(cost.messages, sent);
      EXPECT_EQ(cost.bytes_sent, sent * block);
      EXPECT_EQ(cost.key_slots_bytes, expected.keys_held * block);
      EXPECT_EQ(cost.gradient_slots_bytes, expected.gradients_held * block);
    }
  }
}

// One of eight ranks, of which `node` share memory: what is read in place is neither sent nor held.
TEST(RingCost, OfKeysReadInPlaceIsNothing) {
  RingCase c{8, PartitionKind::kZigzag, MaskKind::kCausal, 2, 128};
  const int64_t block = 2 * kBatch * 16 * 2 * kHeadDim * SizeOf(DType::kF32);
  for (const int node : {8, 4}) {
    c.node = node;
    for (const ScheduleSpec& schedule : SchedulesFor(8)) {
      SCOPED_TRACE(fmt::format("{}, memory of {}", Describe(schedule), node));
      int64_t keys = 0, alone = 0;
      for (int rank = 0; rank < c.ranks; ++rank) {
        RingCase apart = c;
        apart.node = 0;
        const RankCost shared = RunRingDry(Whole(c), c, schedule, rank);
        const RankCost copied = RunRingDry(Whole(c), apart, schedule, rank);
        keys += copied.messages - shared.messages;
        alone += copied.bytes_sent - shared.bytes_sent;
        EXPECT_EQ(shared.gradient_slots_bytes, copied.gradient_slots_bytes);
        EXPECT_LE(shared.key_slots_bytes, node == 8 ? 0 : copied.key_slots_bytes);
      }
      // Of each owner's block, in forward and again in backward, those of its node.
      EXPECT_EQ(keys, 8 * 2 * (node - 1));
      EXPECT_EQ(alone, keys * block);
    }
  }
}

// What a rank sends around attention, in bytes of its local queries (MHA): of q, k, v and out there
// in forward, of out, dout, dq, dk and dv in backward, as many as the group has other ranks.
TEST(UlyssesCost, IsNineTensorsWhereHeadsDivideEvenly) {
  for (int ranks : {2, 4, 8}) {
    const RingCase c{ranks,      PartitionKind::kZigzag, MaskKind::kCausal, 8, 128, DType::kF32,
                     ranks,
                     /*heads=*/8};
    const int64_t queries = kBatch * (128 / ranks) * 8 * kHeadDim * 4;
    for (int rank = 0; rank < ranks; ++rank) {
      const RankCost cost = RunRingDry(Whole(c), c, {}, rank);
      EXPECT_EQ(cost.bytes_sent, 9 * queries * (ranks - 1) / ranks);
      EXPECT_EQ(cost.key_slots_bytes, 0);
    }
  }
}

// A rank that runs out of memory in the middle of it says so, and nobody waits for the deadline.
TEST(RingFailure, OfOneRankEndsTheOthers) {
  RingCase c{4, PartitionKind::kZigzag, MaskKind::kCausal, 2, 173};
  const Whole whole(c);
  for (const ScheduleSpec& schedule : SchedulesFor(c.ranks)) {
    c.node = c.node == 0 ? 4 : c.node - 2;  // 4, 2, 0, ...
    SCOPED_TRACE(fmt::format("{}, memory of {}", Describe(schedule), c.node));
    const auto memory = [&](int rank) {
      return RunRingDry(whole, c, schedule, rank).peak_bytes - (rank == 2 ? 1 : 0);
    };
    try {
      RunRing(whole, c, schedule, {.memory_bytes = memory});
      ADD_FAILURE() << "a byte too few was enough";
    } catch (const InternalError& error) {
      EXPECT_THAT(error.what(), testing::HasSubstr("reserved"));
    }
  }
}

// Keys travel in their own dtype, their gradients in f32.
TEST(RingTraffic, OfBf16KeysIsHalf) {
  constexpr int64_t kLength = 64, kRanks = 4, kTokens = kLength / kRanks;
  constexpr int64_t kBlock = 2 * kBatch * kTokens * 2 * kHeadDim;  // keys and values of 2 heads
  for (DType dtype : {DType::kF32, DType::kBF16}) {
    const RingCase c{kRanks, PartitionKind::kZigzag, MaskKind::kCausal, 2, kLength, dtype};
    for (const RankCost& cost : RunRing(Whole(c), c, {}).cost) {
      EXPECT_EQ(cost.bytes_sent, (kRanks - 1) * kBlock * (2 * SizeOf(dtype) + 4));
    }
  }
}

}  // namespace
}  // namespace annulus::parallel
