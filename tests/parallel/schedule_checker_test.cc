// The checker of schedules sees what is wrong: each case spoils sound schedules in one way.
#include "tests/parallel/schedule_checker.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

namespace annulus::parallel {
namespace {

using testing::AnyOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using Way = BlockMessage::Way;

constexpr int kRanks = 6;

std::vector<ScheduleSpec> Specs() {
  return {{.kind = ScheduleKind::kRing},
          {.kind = ScheduleKind::kAllGather},
          {.kind = ScheduleKind::kAllGather, .blocks_in_flight = 2},
          {.kind = ScheduleKind::kDoubleRing, .inner = 2},
          {.kind = ScheduleKind::kDoubleRing, .inner = 3}};
}

const WantsTable kEveryone(kRanks, std::vector<bool>(kRanks, true));

// Spoils each rank's schedule in turn, and then all of them; returns what the checker says.
std::vector<std::string> FaultsAfter(const std::function<void(Schedule&)>& spoil) {
  std::vector<std::string> faults;
  for (const ScheduleSpec& spec : Specs()) {
    const std::vector<Schedule> sound = SchedulesOf(spec, kEveryone);
    EXPECT_EQ(FaultOf(sound, kEveryone), "");
    for (size_t rank = 0; rank < kRanks; ++rank) {
      std::vector<Schedule> spoilt = sound;
      spoil(spoilt[rank]);
      faults.push_back(FaultOf(spoilt, kEveryone));
    }
    std::vector<Schedule> spoilt = sound;
    for (Schedule& schedule : spoilt) spoil(schedule);
    faults.push_back(FaultOf(spoilt, kEveryone));
  }
  return faults;
}

BlockMessage& First(BlockStream& stream, Way way) {
  for (BlockMessage& message : stream.messages) {
    if (message.way == way) return message;
  }
  return stream.messages.front();
}

TEST(ScheduleChecker, SeesAMissingMessage) {
  for (Way way : {Way::kSend, Way::kReceive}) {
    const auto drop = [way](BlockStream& stream) {
      stream.messages.erase(stream.messages.begin() +
                            (&First(stream, way) - stream.messages.data()));
    };
    EXPECT_THAT(FaultsAfter([&](Schedule& schedule) { drop(schedule.keys); }),
                Each(Not(IsEmpty())));
    EXPECT_THAT(FaultsAfter([&](Schedule& schedule) { drop(schedule.gradients); }),
                Each(Not(IsEmpty())));
  }
}

TEST(ScheduleChecker, SeesKeysReadBeforeTheyAreThere) {
  const auto faults = FaultsAfter([](Schedule& s) { ++First(s.keys, Way::kReceive).due; });
  EXPECT_THAT(faults, Each(HasSubstr("read while it is received into")));
}

TEST(ScheduleChecker, SeesSumsAddedToBeforeTheyAreThere) {
  const auto faults = FaultsAfter([](Schedule& s) { ++First(s.gradients, Way::kReceive).due; });
  EXPECT_THAT(faults, Each(Not(IsEmpty())));
}

TEST(ScheduleChecker, SeesASharedBuffer) {
  const auto faults = FaultsAfter([](Schedule& schedule) {
    for (BlockMessage& message : schedule.keys.messages) {
      if (message.slot > 0) message.slot = 0;
    }
    for (ScheduleStep& step : schedule.steps) {
      if (step.keys > 0) step.keys = 0;
    }
  });
  EXPECT_THAT(faults, Each(AnyOf(HasSubstr("is received into"), HasSubstr("is sent"),
                                 HasSubstr("does not hold"))));
}

TEST(ScheduleChecker, SeesABufferThatIsNotThere) {
  const auto faults = FaultsAfter([](Schedule& schedule) { --schedule.keys.slots; });
  EXPECT_THAT(faults, Each(HasSubstr("slot")));
}

// If every rank receives before it sends, nobody sends.
TEST(ScheduleChecker, SeesRanksThatWaitForEachOther) {
  std::vector<Schedule> all = SchedulesOf({}, kEveryone);
  for (Schedule& schedule : all) {
    BlockMessage& first = First(schedule.keys, Way::kSend);
    ++first.start;
  }
  EXPECT_THAT(FaultOf(all, kEveryone), HasSubstr("for ever"));
}

TEST(ScheduleChecker, SeesAFoldTooFewOrOneTooMany) {
  EXPECT_THAT(FaultsAfter([](Schedule& s) { s.steps[2].kv_owner = kNobody; }),
              Each(Not(IsEmpty())));
  EXPECT_THAT(FaultsAfter([](Schedule& s) { s.steps.push_back(s.steps[0]); }),
              Each(Not(IsEmpty())));
}

TEST(ScheduleChecker, SeesAPartThatIsNotAdded) {
  EXPECT_THAT(FaultsAfter([](Schedule& s) {
                for (ScheduleStep& step : s.steps) step.sum = step.part;
                for (BlockMessage& message : s.gradients.messages) message.adds = false;
              }),
              Each(Not(IsEmpty())));
}

// What the checker says of a ring of two nodes after `spoil` had its way with rank 1.
std::string FaultInPlace(const std::function<void(Schedule&)>& spoil) {
  const std::vector<int> nodes = {0, 0, 0, 1, 1, 1};
  std::vector<Schedule> all = SchedulesOf({.memory_nodes = nodes}, kEveryone);
  EXPECT_EQ(FaultOf(all, kEveryone, nodes), "");
  spoil(all[1]);
  return FaultOf(all, kEveryone, nodes);
}

BlockMessage& FirstInPlace(BlockStream& stream, Way way) {
  for (BlockMessage& message : stream.messages) {
    if (message.way == way && message.in_place) return message;
  }
  return stream.messages.front();
}

TEST(ScheduleChecker, SeesWhatCannotBeReadInPlace) {
  EXPECT_EQ(FaultOf(SchedulesOf({.memory_nodes = {0, 0, 0, 1, 1, 1}}, kEveryone), kEveryone),
            "no memory is shared");
  EXPECT_THAT(FaultInPlace([](Schedule& s) { ++FirstInPlace(s.keys, Way::kReceive).due; }),
              HasSubstr("before they are due"));
  EXPECT_THAT(FaultInPlace([](Schedule& s) { --FirstInPlace(s.keys, Way::kSend).due; }),
              HasSubstr("too early"));
  EXPECT_THAT(FaultInPlace([](Schedule& s) { s.keys.in_place = 0; }), HasSubstr("slot"));
  EXPECT_THAT(FaultInPlace([](Schedule& s) { FirstInPlace(s.keys, Way::kSend).in_place = false; }),
              Not(IsEmpty()));
  EXPECT_THAT(
      FaultInPlace([](Schedule& s) { FirstInPlace(s.keys, Way::kReceive).in_place = false; }),
      Not(IsEmpty()));
}

TEST(ScheduleChecker, SeesKeysThatNobodyWants) {
  WantsTable wants = kEveryone;
  for (auto& row : wants) row[0] = false;
  for (const ScheduleSpec& spec : Specs()) {
    std::vector<Schedule> all = SchedulesOf(spec, kEveryone);
    for (size_t rank = 1; rank < kRanks; ++rank) {
      for (ScheduleStep& step : all[rank].steps) {
        if (step.kv_owner == 0) step.kv_owner = kNobody;
      }
    }
    EXPECT_THAT(FaultOf(all, wants), Not(IsEmpty()));
  }
}

}  // namespace
}  // namespace annulus::parallel
