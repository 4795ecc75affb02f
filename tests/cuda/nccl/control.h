// What tests do to the stand-in beyond NCCL's calls.
#pragma once

#include "tests/cuda/nccl/include/nccl.h"

namespace annulus::nccl_stand_in {

// What NCCL finds out by itself, as when a network fails: ncclCommGetAsyncError says so from now
// on, of all communicators of the calling thread's device.
void FailDevice(ncclResult_t error);

// Communicators that were neither destroyed nor aborted.
int LiveComms();

}  // namespace annulus::nccl_stand_in
