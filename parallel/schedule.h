// Who attends to whose keys, in which order, and what travels meanwhile: a schedule is data.
//
// One driver (ring_attention.h) runs every schedule, forward and backward. In forward, while the
// keys of a step are folded in, the exchange of that step is in flight. In backward the gradient of
// the keys follows the keys: after a step it goes where they went, and after the last one home.
#pragma once

#include <vector>

namespace annulus::parallel {

struct ScheduleStep {
  int kv_owner = 0;  // the rank whose keys this rank attends to in this step
  // While they are folded in, these same keys go to `send_to` and the next step's come from
  // `receive_from`. -1: nothing travels (the last step).
  int send_to = -1;
  int receive_from = -1;
};

struct Schedule {
  // The first step's keys are this rank's own. Every rank's keys appear once.
  std::vector<ScheduleStep> steps;
  // After the last step the gradient of its keys goes to their owner, `home_to`, and this rank's
  // own comes from `home_from`.
  int home_to = 0;
  int home_from = 0;
};

// The plain ring (Liu et al. 2023): keys move to the next rank at every step.
// Per rank and direction: ranks-1 messages of one block of keys and values.
Schedule RingSchedule(int rank, int ranks);

}  // namespace annulus::parallel
