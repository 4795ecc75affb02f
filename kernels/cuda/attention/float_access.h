// Elements of tensors as f32, on the device.
#pragma once

#include "kernels/base/bfloat16.h"
#include "kernels/cuda/ptx.h"

namespace annulus::kernels::cuda {

__device__ __forceinline__ float ReadFloat(const float* p) { return *p; }
__device__ __forceinline__ float ReadFloat(const BFloat16* p) { return ToFloat(*p); }
__device__ __forceinline__ void WriteFloat(float x, float* p) { *p = x; }
__device__ __forceinline__ void WriteFloat(float x, BFloat16* p) { *p = ToBFloat16(x); }

__device__ __forceinline__ float WarpSum(float x) {
#pragma unroll
  for (int step = 16; step > 0; step /= 2) x += __shfl_xor_sync(0xffffffffu, x, step);
  return x;
}

}  // namespace annulus::kernels::cuda
