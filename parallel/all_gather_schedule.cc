// All-gather: in step s a rank folds in the keys of the s-th rank before it, which come straight
// from there, and its part of their gradient goes straight back. Its own block goes to the s-th
// rank after it. Parts come home in the order of steps and are added in that order.
#include "parallel/schedule_kinds.h"

namespace annulus::parallel {

using Way = BlockMessage::Way;

Schedule ListAllGather(int blocks_in_flight, int rank, const Ring& ring) {
  const int ranks = ring.ranks;
  Schedule schedule;
  schedule.steps.resize(static_cast<size_t>(ranks));
  schedule.steps[0].kv_owner = rank;
  for (int step = 1; step < ranks; ++step) {
    const int owner = (rank - step + ranks) % ranks, reader = (rank + step) % ranks;
    // From here on, no more blocks than allowed are under way or being read.
    const int start = step > blocks_in_flight ? step - blocks_in_flight + 1 : 0;
    if (ring.wants(rank, owner)) {
      schedule.steps[static_cast<size_t>(step)].kv_owner = owner;
      const BlockMessage copy{
          .way = Way::kReceive, .peer = owner, .owner = owner, .start = start, .due = step};
      schedule.keys.messages.push_back(ring.in_place(rank, owner) ? BorrowedFrom(owner, step)
                                                                  : copy);
      schedule.gradients.messages.push_back(
          {.peer = owner, .owner = owner, .start = step, .due = step + 1});
    }
    if (ring.wants(reader, rank)) {
      const BlockMessage copy{.peer = reader, .owner = rank, .start = start, .due = ranks};
      schedule.keys.messages.push_back(ring.in_place(reader, rank) ? LentTo(reader, rank, ranks)
                                                                   : copy);
      schedule.gradients.messages.push_back({.way = Way::kReceive,
                                             .peer = reader,
                                             .owner = rank,
                                             .start = step,
                                             .due = step + 1,
                                             .adds = true});
    }
  }
  return schedule;
}

}  // namespace annulus::parallel
