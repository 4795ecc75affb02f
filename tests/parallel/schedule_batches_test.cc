// Both ends of a message start it at the same point of their schedules, as a transport that moves
// messages in order needs them to (Communicator::Batch).
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <tuple>

#include "tests/parallel/schedule_checker.h"

namespace annulus::parallel {
namespace {

// Sender, receiver, owner, point; how many.
using Starts = std::map<std::tuple<int, int, int, int>, int>;

struct Ends {
  Starts sends, receives;
};

Ends EndsOf(const std::vector<Schedule>& all, BlockStream Schedule::*stream) {
  Ends ends;
  for (int rank = 0; rank < std::ssize(all); ++rank) {
    for (const BlockMessage& m : (all[static_cast<size_t>(rank)].*stream).messages) {
      if (m.way == BlockMessage::Way::kSend) {
        ++ends.sends[{rank, m.peer, m.owner, m.start}];
      } else {
        ++ends.receives[{m.peer, rank, m.owner, m.start}];
      }
    }
  }
  return ends;
}

WantsTable RandomWants(int ranks, std::mt19937& random) {
  WantsTable wants(static_cast<size_t>(ranks), std::vector<bool>(static_cast<size_t>(ranks)));
  for (size_t rank = 0; rank < wants.size(); ++rank) {
    for (size_t owner = 0; owner < wants.size(); ++owner) {
      wants[rank][owner] = rank == owner || random() % 3 != 0;
    }
  }
  return wants;
}

TEST(ScheduleBatches, BothEndsOfAMessageStartAtTheSamePoint) {
  std::mt19937 random(std::random_device{}());
  for (int ranks = 1; ranks <= 12; ++ranks) {
    std::vector<ScheduleSpec> specs = {{.kind = ScheduleKind::kRing},
                                       {.kind = ScheduleKind::kAllGather},
                                       {.kind = ScheduleKind::kAllGather, .blocks_in_flight = 2}};
    for (int inner = 2; inner < ranks; ++inner) {
      if (ranks % inner == 0) specs.push_back({.kind = ScheduleKind::kDoubleRing, .inner = inner});
    }
    for (const ScheduleSpec& spec : specs) {
      for (int draw = 0; draw < 10; ++draw) {
        const WantsTable wants = RandomWants(ranks, random);
        const std::vector<Schedule> all = SchedulesOf(spec, wants);
        for (const auto stream : {&Schedule::keys, &Schedule::gradients}) {
          const Ends ends = EndsOf(all, stream);
          ASSERT_EQ(ends.sends, ends.receives)
              << NameOf(spec.kind) << " of " << ranks << " ranks, " << spec.inner << " to a node";
        }
      }
    }
  }
}

}  // namespace
}  // namespace annulus::parallel
