// The sum that an all-reduce on devices takes (reduce.h has that of the host).
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace annulus::parallel {

// `own` and what the other ranks sent, f32: that of rank r in row r of `staged`, or r - 1 behind
// the own rank, rows `stride` elements apart.
struct NcclSum {
  float* own = nullptr;
  const float* staged = nullptr;
  int64_t stride = 0;
  int64_t count = 0;
  int rank = 0;
  int size = 1;
};

// own[i] = the sum over all ranks, in the order of ranks, accumulated in f64 and rounded to f32
// once. Reads 4 bytes an element and rank, writes 4 an element.
void EnqueueSumInRankOrder(const NcclSum& sum, cudaStream_t stream);

}  // namespace annulus::parallel
