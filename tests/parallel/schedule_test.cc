// Schedules of all ranks of a group fit together, whoever wants whose keys, and take the messages
// and buffers that they say.
#include "parallel/schedule.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

#include "kernels/base/error.h"
#include "tests/parallel/schedule_checker.h"

namespace annulus::parallel {
namespace {

using Way = BlockMessage::Way;

// Every kind, every number of ranks to a node.
std::vector<ScheduleSpec> SpecsFor(int ranks) {
  std::vector<ScheduleSpec> specs = {{.kind = ScheduleKind::kRing}};
  for (int blocks : {0, 2, 3}) {
    specs.push_back({.kind = ScheduleKind::kAllGather, .blocks_in_flight = blocks});
  }
  for (int inner = 1; inner <= ranks; ++inner) {
    if (ranks % inner == 0) specs.push_back({.kind = ScheduleKind::kDoubleRing, .inner = inner});
  }
  return specs;
}

// Whose memory is shared with whom: one node, equal ones, ragged ones, ranks dealt out in turn.
std::vector<std::vector<int>> MemoryNodes(int ranks) {
  std::vector<std::vector<int>> all(4);
  for (int rank = 0; rank < ranks; ++rank) {
    all[0].push_back(0);
    all[1].push_back(rank / 2);
    all[2].push_back(rank * rank / (2 * ranks));
    all[3].push_back(rank % 3);
  }
  return all;
}

std::string NameOf(const ScheduleSpec& spec, int ranks) {
  return fmt::format("{} of {}, {} to a node, {} in flight, memory [{}]", NameOf(spec.kind), ranks,
                     spec.inner, spec.blocks_in_flight, fmt::join(spec.memory_nodes, " "));
}

// What the buffers of one rank may be at most, and are where everyone wants everything.
struct Slots {
  int keys;
  int gradients;       // where everyone wants everything
  int gradients_most;  // whoever wants what
};
Slots SlotsOf(const ScheduleSpec& spec, int ranks) {
  const int nodes = ranks / spec.inner, gradients = ranks == 1 ? 0 : std::min(ranks, 3);
  switch (spec.kind) {
    case ScheduleKind::kRing:
      return {std::min(ranks - 1, 2), gradients, 4};
    case ScheduleKind::kDoubleRing:
      return {std::min(spec.inner - 1, 2) + std::min(nodes - 1, 2), gradients, 5};
    case ScheduleKind::kAllGather: {
      const int blocks = spec.blocks_in_flight == 0 ? ranks : spec.blocks_in_flight;
      return {std::min(ranks - 1, blocks), gradients, gradients};
    }
  }
  return {};
}

WantsTable Everyone(int ranks) {
  return WantsTable(static_cast<size_t>(ranks),
                    std::vector<bool>(static_cast<size_t>(ranks), true));
}

// Each rank wants the last `window` blocks up to its own.
WantsTable Causal(int ranks, int window) {
  WantsTable wants = Everyone(ranks);
  for (size_t rank = 0; rank < wants.size(); ++rank) {
    for (size_t owner = 0; owner < wants.size(); ++owner) {
      wants[rank][owner] = owner <= rank && rank - owner < static_cast<size_t>(window);
    }
  }
  return wants;
}

void ExpectSound(const ScheduleSpec& spec, const WantsTable& wants) {
  const int ranks = static_cast<int>(wants.size());
  const std::vector<Schedule> all = SchedulesOf(spec, wants);
  ASSERT_EQ(FaultOf(all, wants, spec.memory_nodes), "") << NameOf(spec, ranks);
  const Slots most = SlotsOf(spec, ranks);
  for (const Schedule& schedule : all) {
    ASSERT_LE(schedule.keys.slots, most.keys) << NameOf(spec, ranks);
    ASSERT_LE(schedule.gradients.slots, most.gradients_most) << NameOf(spec, ranks);
  }
}

TEST(Schedule, FitsTogetherWhoeverWantsWhat) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937 generator(seed);
  size_t next = 0;
  for (int ranks = 1; ranks <= 12; ++ranks) {
    const auto size = static_cast<size_t>(ranks);
    const std::vector<std::vector<int>> nodes = MemoryNodes(ranks);
    for (double share : {0.0, 0.05, 0.2, 0.5, 0.8, 1.0}) {
      for (int draw = 0; draw < 12; ++draw) {
        WantsTable wants(size, std::vector<bool>(size));
        for (auto& row : wants) {
          for (size_t owner = 0; owner < size; ++owner) {
            row[owner] = std::bernoulli_distribution(share)(generator);
          }
        }
        for (ScheduleSpec& spec : SpecsFor(ranks)) {
          ExpectSound(spec, wants);
          spec.memory_nodes = nodes[next++ % nodes.size()];
          ExpectSound(spec, wants);
        }
        if (HasFatalFailure()) return;
      }
    }
  }
}

// As masks want: what lies before, and what lies near.
TEST(Schedule, FitsTogetherWithCausalAndWindowMasks) {
  for (int ranks = 1; ranks <= 12; ++ranks) {
    for (int window = 1; window <= ranks; ++window) {
      for (ScheduleSpec& spec : SpecsFor(ranks)) {
        ExpectSound(spec, Causal(ranks, window));
        for (const std::vector<int>& nodes : MemoryNodes(ranks)) {
          spec.memory_nodes = nodes;
          ExpectSound(spec, Causal(ranks, window));
        }
      }
      if (HasFatalFailure()) return;
    }
  }
}

TEST(Schedule, TakesTheBuffersThatItSaysWhereEveryoneWantsEverything) {
  for (int ranks = 1; ranks <= 12; ++ranks) {
    for (const ScheduleSpec& spec : SpecsFor(ranks)) {
      const Slots slots = SlotsOf(spec, ranks);
      for (const Schedule& schedule : SchedulesOf(spec, Everyone(ranks))) {
        EXPECT_EQ(schedule.keys.slots, slots.keys) << NameOf(spec, ranks);
        EXPECT_EQ(schedule.gradients.slots, slots.gradients) << NameOf(spec, ranks);
      }
    }
  }
}

// A double ring of one node is a ring, and so is one of nodes of one rank.
TEST(Schedule, OfADoubleRingWithoutASecondRingIsARing) {
  for (int ranks : {1, 2, 5, 8}) {
    const auto ring = SchedulesOf({}, Everyone(ranks));
    for (int inner : {1, ranks}) {
      const auto all =
          SchedulesOf({.kind = ScheduleKind::kDoubleRing, .inner = inner}, Everyone(ranks));
      EXPECT_TRUE(all == ring) << inner << " of " << ranks;
    }
  }
}

// The keys and gradients that each rank sends.
std::vector<std::pair<int, int>> Sent(const ScheduleSpec& spec, const WantsTable& wants) {
  const auto sends = [](const BlockStream& stream) {
    return static_cast<int>(
        std::count_if(stream.messages.begin(), stream.messages.end(),
                      [](const BlockMessage& message) { return message.way == Way::kSend; }));
  };
  std::vector<std::pair<int, int>> sent;
  for (const Schedule& schedule : SchedulesOf(spec, wants)) {
    sent.emplace_back(sends(schedule.keys), sends(schedule.gradients));
  }
  return sent;
}

using Counts = std::vector<std::pair<int, int>>;

TEST(Schedule, OfARingSendsWhatIsWantedAndNoMore) {
  const ScheduleSpec ring;
  EXPECT_EQ(Sent(ring, Everyone(4)), (Counts{{3, 3}, {3, 3}, {3, 3}, {3, 3}}));
  EXPECT_EQ(Sent(ring, Causal(4, 4)), (Counts{{1, 0}, {2, 1}, {3, 2}, {0, 3}}));
  EXPECT_EQ(Sent(ring, Causal(4, 2)), (Counts{{1, 0}, {1, 1}, {1, 1}, {0, 1}}));
  EXPECT_EQ(Sent(ring, Causal(4, 1)), (Counts{{0, 0}, {0, 0}, {0, 0}, {0, 0}}));
}

TEST(Schedule, OfAnAllGatherSendsEachBlockToThoseThatWantItAlone) {
  for (int blocks : {0, 2}) {
    const ScheduleSpec gather{.kind = ScheduleKind::kAllGather, .blocks_in_flight = blocks};
    EXPECT_EQ(Sent(gather, Everyone(4)), (Counts{{3, 3}, {3, 3}, {3, 3}, {3, 3}}));
    EXPECT_EQ(Sent(gather, Causal(4, 4)), (Counts{{3, 0}, {2, 1}, {1, 2}, {0, 3}}));
    EXPECT_EQ(Sent(gather, Causal(4, 2)), (Counts{{1, 0}, {1, 1}, {1, 1}, {0, 1}}));
  }
}

// Two nodes of two. Where all want all, a rank sends two blocks inside its node and one outside.
TEST(Schedule, OfADoubleRingSendsWhatIsWantedAndNoMore) {
  const ScheduleSpec rings{.kind = ScheduleKind::kDoubleRing, .inner = 2};
  EXPECT_EQ(Sent(rings, Everyone(4)), (Counts{{3, 3}, {3, 3}, {3, 3}, {3, 3}}));
  // Block 0 goes by 1, 2 and 3; block 1 begins at 3, as at the second place of its node, and ends
  // at 2.
  EXPECT_EQ(Sent(rings, Causal(4, 4)), (Counts{{2, 0}, {1, 1}, {2, 2}, {1, 3}}));
}

// The block that a lap begins with leaves for the next node as the lap begins and is awaited as the
// next lap does.
TEST(Schedule, OfADoubleRingIsALapAheadBetweenNodes) {
  constexpr int kInner = 4, kNodes = 3, kRanks = kInner * kNodes;
  const ScheduleSpec rings{.kind = ScheduleKind::kDoubleRing, .inner = kInner};
  const std::vector<Schedule> all = SchedulesOf(rings, Everyone(kRanks));
  for (int rank = 0; rank < kRanks; ++rank) {
    std::vector<int> starts;
    for (const BlockMessage& m : all[static_cast<size_t>(rank)].keys.messages) {
      if (m.way != Way::kReceive || m.peer / kInner == rank / kInner) continue;
      starts.push_back(m.start);
      EXPECT_EQ(m.peer, (rank - kInner + kRanks) % kRanks);
      EXPECT_EQ(m.due, m.start + kInner);
    }
    EXPECT_EQ(starts, (std::vector<int>{0, kInner}));
  }
}

// Copies of keys that leave a rank, and blocks that it lends.
std::pair<int, int> CopiesAndLoans(const Schedule& schedule) {
  int copies = 0, loans = 0;
  for (const BlockMessage& m : schedule.keys.messages) {
    if (m.way == Way::kSend) ++(m.in_place ? loans : copies);
  }
  return {copies, loans};
}

// On one node nothing is copied, whatever the schedule, and no buffer is needed.
TEST(Schedule, OnOneNodeReadsEveryBlockInPlace) {
  for (int ranks : {1, 2, 5, 8}) {
    for (ScheduleSpec& spec : SpecsFor(ranks)) {
      spec.memory_nodes.assign(static_cast<size_t>(ranks), 7);
      for (const Schedule& schedule : SchedulesOf(spec, Everyone(ranks))) {
        EXPECT_EQ(CopiesAndLoans(schedule), std::pair(0, ranks - 1)) << NameOf(spec, ranks);
        EXPECT_EQ(schedule.keys.slots, 0);
        EXPECT_EQ(schedule.keys.in_place, ranks - 1);
      }
    }
  }
}

// Two nodes of three: every block is copied to the other node once, by its owner, and passed on
// there.
TEST(Schedule, OfARingOverTwoNodesCopiesWhatComesFromTheOther) {
  const ScheduleSpec ring{.memory_nodes = {0, 0, 0, 1, 1, 1}};
  int copies = 0, across = 0;
  for (const Schedule& schedule : SchedulesOf(ring, Everyone(6))) {
    EXPECT_EQ(CopiesAndLoans(schedule).second, 2);
    copies += CopiesAndLoans(schedule).first;
    across += static_cast<int>(std::count_if(
        schedule.keys.messages.begin(), schedule.keys.messages.end(), [&](const BlockMessage& m) {
          const int rank = schedule.steps[0].kv_owner;
          return m.way == Way::kSend && m.peer / 3 != rank / 3 && m.owner == rank;
        }));
  }
  EXPECT_EQ(copies, 6 * 3);
  EXPECT_EQ(across, 6);
}

TEST(Schedule, OfAnAllGatherHasAllUnderWayFromTheStart) {
  const ScheduleSpec gather{.kind = ScheduleKind::kAllGather};
  for (const Schedule& schedule : SchedulesOf(gather, Everyone(7))) {
    EXPECT_EQ(schedule.keys.messages.size(), 12U);
    for (const BlockMessage& message : schedule.keys.messages) EXPECT_EQ(message.start, 0);
  }
}

// Own keys wait for the end on exactly those ranks to which a gradient comes home that late.
TEST(Schedule, KeepsOwnKeysForTheEndWhereAGradientComesHomeThen) {
  for (int ranks = 1; ranks <= 8; ++ranks) {
    for (const ScheduleSpec& spec : SpecsFor(ranks)) {
      SCOPED_TRACE(NameOf(spec, ranks));
      for (const Schedule& schedule : SchedulesOf(spec, Everyone(ranks))) {
        EXPECT_EQ(schedule.own_keys_last, ranks > 1);
      }
    }
  }
  std::vector<bool> last;
  for (const Schedule& schedule : SchedulesOf({}, Causal(4, 4))) {
    last.push_back(schedule.own_keys_last);
  }
  EXPECT_THAT(last, testing::ElementsAre(true, false, false, false));
}

TEST(Schedule, RefusesWhatCannotBe) {
  const auto all = [](int, int) { return true; };
  EXPECT_THROW(MakeSchedule({}, 2, 2, all), InternalError);
  EXPECT_THROW(MakeSchedule({}, -1, 2, all), InternalError);
  EXPECT_THROW(MakeSchedule({.kind = ScheduleKind::kAllGather, .blocks_in_flight = 1}, 0, 3, all),
               InternalError);
  for (int inner : {-2, 0, 4, 5, 12}) {
    try {
      MakeSchedule({.kind = ScheduleKind::kDoubleRing, .inner = inner}, 0, 6, all);
      ADD_FAILURE() << inner << " to a node";
    } catch (const ConfigError& error) {
      EXPECT_THAT(error.what(), testing::HasSubstr("1, 2, 3 or 6"));
    }
  }
}

}  // namespace
}  // namespace annulus::parallel
