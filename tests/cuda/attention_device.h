// Fused attention of a CUDA device as a target of attention cases.
#pragma once

#include "kernels/cuda/attention/attention.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/device_memory.h"
#include "tests/kernels/attention_case.h"

namespace annulus::kernels::cuda {

// The calling thread's device, with the kernels of a compute capability (10 * major + minor).
AttentionResult RunOnDevice(const AttentionCase& c, int capability);

// What RunOnDevice gives, within the tolerance.
void ExpectAccurateOnDevice(const AttentionCase& c, int capability,
                            const Tolerance& tolerance = {});

}  // namespace annulus::kernels::cuda
