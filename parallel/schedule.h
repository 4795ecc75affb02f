// Who attends to whose keys, in which order, and what travels meanwhile: a schedule is data.
//
// One driver (ring_attention.h) runs every schedule, forward and backward. In forward, while the
// keys of a step are folded in, the exchange of that step is in flight. In backward the gradient of
// the keys follows the keys: after a step it goes where they went, and from the last rank that
// wants them home.
#pragma once

#include <functional>
#include <vector>

namespace annulus::parallel {

inline constexpr int kNobody = -1;

// In every exchange a rank may be kNobody, where nothing travels.
struct ScheduleStep {
  // The rank whose keys are at hand; kNobody where none are.
  int kv_owner = 0;
  // While they are folded in, these same keys go to `send_to`, and the next step's come from
  // `receive_from`.
  int send_to = kNobody;
  int receive_from = kNobody;
  // These keys are here for the last time, and their gradient goes home to `home_to` after the
  // step. Where they are sent on, it follows them instead; the next step's comes from
  // `receive_from`.
  int home_to = kNobody;
};

struct Schedule {
  // The first step's keys are this rank's own. No rank's keys appear twice.
  std::vector<ScheduleStep> steps;
  // Where the gradient of this rank's own keys comes home from; kNobody: it never leaves.
  int home_from = kNobody;
  // It comes home after everything else that this rank receives.
  bool home_is_last = false;
};

// The ring (Liu et al. 2023): keys move to the next rank at every step, as far as some rank further
// on wants them. `wants(rank, owner)`: whether any query of `rank` attends to any key of `owner`;
// a pure function, the same on every rank.
// Per rank: at most ranks-1 messages of one block of keys, and of gradients one more. With a mask
// that lets everyone attend to everyone it is that many. A contiguous partition with a causal mask
// sends half of it; with a window, what the window reaches.
Schedule RingSchedule(int rank, int ranks, const std::function<bool(int rank, int owner)>& wants);

}  // namespace annulus::parallel
