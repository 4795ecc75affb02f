// Sums of f32 tensors for the host, accumulated in float64 in an order that depends on the size
// alone.
#pragma once

#include <cuda_runtime.h>

#include "kernels/base/ops.h"

namespace annulus::kernels::cuda {

enum class Summand : uint8_t { kValue, kSquare };

// Sums of parts, at most so many.
inline constexpr int64_t kMostPartialSums = 1024;
int64_t PartialSums(int64_t elements);

// Overwrites partials [PartialSums(size)] with the sums of the parts of a contiguous f32 `view`.
void SumParts(ConstView view, Summand summand, double* partials, cudaStream_t stream);

}  // namespace annulus::kernels::cuda
