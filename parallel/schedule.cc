#include "parallel/schedule.h"

#include "kernels/base/error.h"

namespace annulus::parallel {

Schedule RingSchedule(int rank, int ranks, const std::function<bool(int, int)>& wants) {
  Check(ranks >= 1 && rank >= 0 && rank < ranks, "rank {} of a ring of {}", rank, ranks);
  // The rank that is `hops` further on.
  const auto after = [ranks](int from, int hops) { return (from + hops % ranks + ranks) % ranks; };
  // How many hops the keys of `owner` make, to the last rank that wants them.
  const auto reach = [&](int owner) {
    int hops = ranks - 1;
    while (hops > 0 && !wants(after(owner, hops), owner)) --hops;
    return hops;
  };

  Schedule schedule;
  schedule.steps.resize(static_cast<size_t>(ranks));
  for (int step = 0; step < ranks; ++step) {
    const int owner = after(rank, -step), hops = reach(owner);
    if (step == 0) {
      if (hops > 0) schedule.home_from = after(rank, hops);
      schedule.home_is_last = hops == ranks - 1;
    }
    ScheduleStep& at = schedule.steps[static_cast<size_t>(step)];
    at.kv_owner = step <= hops ? owner : kNobody;
    if (step < hops) at.send_to = after(rank, 1);
    if (step == hops && step > 0) at.home_to = owner;
    if (step > 0 && step <= hops) {
      schedule.steps[static_cast<size_t>(step - 1)].receive_from = after(rank, -1);
    }
  }
  while (schedule.steps.back().kv_owner == kNobody) schedule.steps.pop_back();
  return schedule;
}

}  // namespace annulus::parallel
