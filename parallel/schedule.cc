#include "parallel/schedule.h"

#include <algorithm>

#include "kernels/base/error.h"
#include "parallel/divisors.h"
#include "parallel/schedule_kinds.h"

namespace annulus::parallel {
namespace {

void CheckInner(int inner, int ranks) {
  if (inner >= 1 && ranks % inner == 0) return;
  ThrowConfigError(
      "a double ring over {} ranks cannot have {} to a node: every node has equally many, {}",
      ranks, inner, Alternatives(DivisorsOf(ranks)));
}

Schedule ListOf(const ScheduleSpec& spec, int rank, const Ring& ring) {
  switch (spec.kind) {
    case ScheduleKind::kRing:
      return ListRings(ring.ranks, rank, ring);
    case ScheduleKind::kDoubleRing:
      CheckInner(spec.inner, ring.ranks);
      return ListRings(spec.inner, rank, ring);
    case ScheduleKind::kAllGather:
      Check(spec.blocks_in_flight == 0 || spec.blocks_in_flight >= 2,
            "an all-gather of {} blocks at once: 0 are all, 2 the least", spec.blocks_in_flight);
      return ListAllGather(spec.blocks_in_flight == 0 ? ring.ranks : spec.blocks_in_flight, rank,
                           ring);
  }
  Check(false, "no such kind of schedule: {}", static_cast<int>(spec.kind));
  return {};
}

// Whether anything of the gradient of own keys comes home after the last step.
bool HomecomingIsLast(const Schedule& schedule) {
  const int last = static_cast<int>(schedule.steps.size()) - 1;
  return std::any_of(
      schedule.gradients.messages.begin(), schedule.gradients.messages.end(),
      [last](const BlockMessage& message) { return message.adds && message.start == last; });
}

}  // namespace

BlockMessage LentTo(int reader, int owner, int steps) {
  return {.peer = reader, .owner = owner, .due = steps, .in_place = true};
}

BlockMessage BorrowedFrom(int owner, int step) {
  return {.way = BlockMessage::Way::kReceive,
          .peer = owner,
          .owner = owner,
          .due = step,
          .in_place = true};
}

std::string_view NameOf(ScheduleKind kind) {
  switch (kind) {
    case ScheduleKind::kRing:
      return "ring";
    case ScheduleKind::kAllGather:
      return "all-gather";
    case ScheduleKind::kDoubleRing:
      return "double-ring";
  }
  return "?";
}

Schedule MakeSchedule(const ScheduleSpec& spec, int rank, int ranks, const Wants& wants) {
  Check(ranks >= 1 && rank >= 0 && rank < ranks, "rank {} of a group of {}", rank, ranks);
  Check(spec.memory_nodes.empty() || std::ssize(spec.memory_nodes) == ranks,
        "the nodes of {} ranks in a group of {}", spec.memory_nodes.size(), ranks);
  const Wants in_place = [&spec](int reader, int owner) { return spec.InPlace(reader, owner); };
  Schedule schedule = ListOf(spec, rank, {ranks, wants, in_place});
  AssignSlots(rank, schedule);
  schedule.own_keys_last = HomecomingIsLast(schedule);
  return schedule;
}

}  // namespace annulus::parallel
