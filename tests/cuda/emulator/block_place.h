// Where the running thread is: CUDA's variables, one set for every host thread that runs kernels.
#pragma once

#include "tests/cuda/emulator/runtime_types.h"

// threadIdx is rewritten at every switch. They are variables, not macros, as cudaLaunchConfig_t has
// members of these names.
extern constinit thread_local uint3 threadIdx, blockIdx;
extern constinit thread_local dim3 blockDim, gridDim;
