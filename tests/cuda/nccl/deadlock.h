// Ranks that wait for each other in a ring.
#pragma once

#include "tests/cuda/nccl/launches.h"

namespace annulus::nccl_stand_in {

// Tells of it, link by link, where `launch`, at the head of its stream, waits in the end for
// itself. Streams and `mutex` are locked.
void TellDeadlock(const Launch& launch);

}  // namespace annulus::nccl_stand_in
