// Stands in for CUDA's header of this name where a .cu file is compiled as C++: the types and calls
// of the runtime that the project uses, then what kernels see. Needs no CUDA Toolkit.
#pragma once

#ifdef __CUDACC__
#error "the emulator's headers are not for nvcc"
#endif

// clang-format off
#include "tests/cuda/emulator/runtime_types.h"
#include "tests/cuda/emulator/runtime_api.h"
#include "tests/cuda/emulator/builtins.h"
#include "tests/cuda/emulator/instructions.h"
#include "tests/cuda/emulator/hopper.h"
#include "tests/cuda/emulator/launch.h"
// clang-format on
