// Sums and maxima over a block's threads, the same bits in every run: lanes by a butterfly, then
// warps in their order.
#pragma once

#include <cstdint>

#include "kernels/cuda/element.h"

namespace annulus::kernels::cuda {

struct Plus {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a + b;
  }
};
// A NaN wins.
struct Larger {
  __device__ float operator()(float a, float b) const { return a > b || a != a ? a : b; }
};

// Shared memory that a reduction of T over a block of up to 1024 threads needs.
template <class T>
inline constexpr int64_t kReduceBytes = 32 * sizeof(T);

// Over all threads of the block, for each of them; what each did before is done for all. Blocks
// have one dim and are whole warps. `shared` is kReduceBytes<T> of shared memory, free again
// afterwards.
template <class T, class Op>
__device__ inline T BlockReduce(T x, const Op& op, T* shared) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) {
    x = op(x, __shfl_xor_sync(0xffffffffu, x, distance));
  }
  const unsigned warps = blockDim.x / 32;
  if (warps == 1) {
    __syncwarp();
    return x;
  }
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = x;
  __syncthreads();
  x = shared[0];
  for (unsigned w = 1; w < warps; ++w) x = op(x, shared[w]);
  __syncthreads();
  return x;
}

template <class T>
__device__ inline T BlockSum(T x, T* shared) {
  return BlockReduce(x, Plus(), shared);
}
__device__ inline float BlockMax(float x, float* shared) {
  return BlockReduce(x, Larger(), shared);
}

}  // namespace annulus::kernels::cuda
