#include "parallel/schedule.h"

#include "kernels/base/error.h"

namespace annulus::parallel {

Schedule RingSchedule(int rank, int ranks) {
  Check(ranks >= 1 && rank >= 0 && rank < ranks, "rank {} of a ring of {}", rank, ranks);
  const int next = (rank + 1) % ranks;
  const int previous = (rank + ranks - 1) % ranks;
  Schedule schedule;
  for (int step = 0; step < ranks; ++step) {
    const bool last = step == ranks - 1;
    schedule.steps.push_back({.kv_owner = (rank - step + ranks) % ranks,
                              .send_to = last ? -1 : next,
                              .receive_from = last ? -1 : previous});
  }
  schedule.home_to = next;
  schedule.home_from = previous;
  return schedule;
}

}  // namespace annulus::parallel
