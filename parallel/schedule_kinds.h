// The kinds of schedules, and what they share. Each function lists the folds and messages of one
// rank; AssignSlots gives them buffers.
#pragma once

#include <functional>

#include "parallel/schedule.h"

namespace annulus::parallel {

using Wants = std::function<bool(int rank, int owner)>;

// A group of ranks, and what its ranks know of each other.
struct Ring {
  int ranks;
  const Wants& wants;
  const Wants& in_place;  // of two ranks, whether the one reads the other's keys where they lie
};

// Rings of `inner` ranks in a ring of nodes; inner == ranks is a plain ring. Requires that `inner`
// divides the ranks. No slots.
Schedule ListRings(int inner, int rank, const Ring& ring);

// Every block straight to the ranks that want it, at most `blocks_in_flight` >= 2 of them being
// received or read from a copy by a rank at once. No slots.
Schedule ListAllGather(int blocks_in_flight, int rank, const Ring& ring);

// Both sides of keys that the peer `reader`, or this rank of the peer `owner`, reads in place in
// `step` of `steps`.
BlockMessage LentTo(int reader, int owner, int steps);
BlockMessage BorrowedFrom(int owner, int step);

// Sorts the messages by start and gives folds and messages the fewest slots such that none is
// written while it is read, sent or received into.
void AssignSlots(int rank, Schedule& schedule);

}  // namespace annulus::parallel
