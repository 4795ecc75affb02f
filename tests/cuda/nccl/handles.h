// Checks of handles, and how what is wrong is told.
#pragma once

#include <string>

#include "tests/cuda/nccl/launches.h"

namespace annulus::nccl_stand_in {

// Tells of it, and remembers it as the last error of `comm` (may be null). Returns `result`.
// Without `mutex`, as the others.
ncclResult_t Fail(ncclComm_t comm, ncclResult_t result, const std::string& why);

// Whether a communicator is one, and not aborted or destroyed; tells where not.
bool IsUsable(ncclComm_t comm, const char* call);
// Whether messages can be issued with it.
bool IsReady(ncclComm_t comm, const char* call);

}  // namespace annulus::nccl_stand_in
