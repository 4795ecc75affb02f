// The kinds of schedules, and what they share. Each function lists the folds and messages of one
// rank; AssignSlots gives them buffers.
#pragma once

#include <functional>

#include "parallel/schedule.h"

namespace annulus::parallel {

using Wants = std::function<bool(int rank, int owner)>;

// Rings of `inner` ranks in a ring of nodes; inner == ranks is a plain ring. Requires that `inner`
// divides `ranks`. No slots.
Schedule ListRings(int inner, int rank, int ranks, const Wants& wants);

// Every block straight to the ranks that want it, at most `blocks_in_flight` >= 2 of them being
// received or read by a rank at once. No slots.
Schedule ListAllGather(int blocks_in_flight, int rank, int ranks, const Wants& wants);

// Sorts the messages by start and gives folds and messages the fewest slots such that none is
// written while it is read, sent or received into.
void AssignSlots(int rank, Schedule& schedule);

}  // namespace annulus::parallel
