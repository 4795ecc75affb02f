// Plays the schedules of all ranks of a group together, with waits that block, and tells what is
// wrong with them. Knows of schedules only what schedule.h promises.
#pragma once

#include <string>
#include <vector>

#include "parallel/schedule.h"

namespace annulus::parallel {

// wants[rank][owner].
using WantsTable = std::vector<std::vector<bool>>;

std::vector<Schedule> SchedulesOf(const ScheduleSpec& spec, const WantsTable& wants);

// The first fault found; empty where there is none. Faults are: a message without its counterpart
// or with another's tag, a wait that never ends, keys read in place where no memory is shared
// (`memory_nodes` as in ScheduleSpec) or at another time than from when they are due to the end of
// that step, a buffer that is written while it is read, sent or
// received into, one that does not hold what it is read for, keys that are sent to no use, a wanted
// block that is not folded in exactly once, and a gradient that is not complete at home.
std::string FaultOf(const std::vector<Schedule>& all, const WantsTable& wants,
                    const std::vector<int>& memory_nodes = {});

}  // namespace annulus::parallel
