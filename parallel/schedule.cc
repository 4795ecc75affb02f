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

Schedule ListOf(const ScheduleSpec& spec, int rank, int ranks, const Wants& wants) {
  switch (spec.kind) {
    case ScheduleKind::kRing:
      return ListRings(ranks, rank, ranks, wants);
    case ScheduleKind::kDoubleRing:
      CheckInner(spec.inner, ranks);
      return ListRings(spec.inner, rank, ranks, wants);
    case ScheduleKind::kAllGather:
      Check(spec.blocks_in_flight == 0 || spec.blocks_in_flight >= 2,
            "an all-gather of {} blocks at once: 0 are all, 2 the least", spec.blocks_in_flight);
      return ListAllGather(spec.blocks_in_flight == 0 ? ranks : spec.blocks_in_flight, rank, ranks,
                           wants);
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
  Schedule schedule = ListOf(spec, rank, ranks, wants);
  AssignSlots(rank, schedule);
  schedule.own_keys_last = HomecomingIsLast(schedule);
  return schedule;
}

}  // namespace annulus::parallel
