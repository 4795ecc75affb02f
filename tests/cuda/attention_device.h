// Fused attention of a CUDA device as a target of attention cases.
#pragma once

#include <string>

#include "kernels/cuda/attention/attention.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/device_memory.h"
#include "tests/kernels/attention_case.h"

namespace annulus::kernels::cuda {

// A family of kernels by what makes ChooseAttention choose it, with a size of heads.
struct AttentionKind {
  AttentionKernels kernels;
  DType dtype;
  int head_dim;
  int64_t tile;  // queries of a block

  int capability() const { return kernels == AttentionKernels::kHopper ? 90 : 80; }
  std::string name() const {
    return std::string(NameOf(kernels)) + "_" + std::string(NameOf(dtype)) + "_D" +
           std::to_string(head_dim);
  }
};

inline constexpr AttentionKind kEveryAttention[] = {
    {AttentionKernels::kGeneric, DType::kF32, 64, 64},
    {AttentionKernels::kGeneric, DType::kF32, 70, 64},
    {AttentionKernels::kGeneric, DType::kBF16, 19, 64},
    {AttentionKernels::kMma, DType::kBF16, 64, 128},
    {AttentionKernels::kMma, DType::kBF16, 128, 128},
    {AttentionKernels::kMma, DType::kBF16, 40, 128},  // padded to 64
    {AttentionKernels::kHopper, DType::kBF16, 64, 128},
    {AttentionKernels::kHopper, DType::kBF16, 128, 128},
};

// The calling thread's device, with the kernels of a compute capability (10 * major + minor).
AttentionResult RunOnDevice(const AttentionCase& c, int capability);

// What RunOnDevice gives, within the tolerance.
void ExpectAccurateOnDevice(const AttentionCase& c, int capability,
                            const Tolerance& tolerance = {});

}  // namespace annulus::kernels::cuda
