// Barriers of a block: __syncthreads and its reductions, bar.sync and bar.arrive.
#pragma once

#include <cstdint>

#include "tests/cuda/emulator/report.h"

namespace annulus::emulator {

// All threads that have not exited; how many of them had `predicate`.
int SyncThreads(bool predicate, Place at);

// bar.sync (`waits`) and bar.arrive of `count` threads, whole warps.
void NamedBarrier(int id, int count, bool waits, Place at);

// After a thread has exited: those that wait for all others may be all that are left.
void ReconsiderBarriers();

}  // namespace annulus::emulator
