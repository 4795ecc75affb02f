// Products of warpgroups on Hopper's tensor cores (wgmma), from tiles that the copy engine left in
// shared memory.
//
// A tile of rows x kDim bf16 is kDim / 64 boxes, each rows x 128 bytes, permuted with a period of 8
// rows = 1024 bytes (tensor_map.h). Accumulators of a warpgroup's 64 rows are m16n8 accumulators of
// its four warps, 16 rows to each (mma_tile.h).
#pragma once

#include "kernels/cuda/attention/mma_tile.h"
#include "kernels/cuda/ptx_wgmma.h"

namespace annulus::kernels::cuda {

inline constexpr uint32_t kBoxRowBytes = 128;
inline constexpr uint32_t kSwizzlePeriodBytes = 8 * kBoxRowBytes;

// Describes an operand whose rows are summed along: 16 columns from `address` on.
__device__ __forceinline__ uint64_t AlongRows(uint32_t address) {
  return ptx::MatrixDescriptor(address, 16, kSwizzlePeriodBytes, ptx::Swizzle::k128Bytes);
}

// Describes an operand that is summed across rows: 16 rows from `address` on, in boxes of
// `box_bytes`.
__device__ __forceinline__ uint64_t AcrossRows(uint32_t address, uint32_t box_bytes) {
  return ptx::MatrixDescriptor(address, box_bytes, kSwizzlePeriodBytes, ptx::Swizzle::k128Bytes);
}

template <int kTiles>
__device__ __forceinline__ float (&Flat(float (&acc)[kTiles][4]))[4 * kTiles] {
  return reinterpret_cast<float(&)[4 * kTiles]>(acc);
}

// Starts acc [64 x kRows] = A B^T. A is 64 rows of a tile of kLeftRows, the first of them at `a`; B
// the kRows rows of a tile at `b`; both of kDim.
template <int kDim, int kLeftRows, int kRows>
__device__ __forceinline__ void StartRowsTimesRows(float (&acc)[kRows / 8][4], uint32_t a,
                                                   uint32_t b) {
#pragma unroll
  for (uint32_t k = 0; k < kDim / 16; ++k) {
    const uint32_t box = k / 4, column = k % 4 * 32;
    ptx::WgmmaSharedShared<kRows, ptx::Major::kK>(
        Flat(acc), AlongRows(a + box * kLeftRows * kBoxRowBytes + column),
        AlongRows(b + box * kRows * kBoxRowBytes + column), k > 0);
  }
}

// Starts acc [64 x kDim] += A B. A is 64 x kRows, packed; B the kRows rows of a tile at `b`.
template <int kDim, int kRows>
__device__ __forceinline__ void StartAddTimesTile(float (&acc)[kDim / 8][4],
                                                  const uint32_t (&a)[kRows / 16][4], uint32_t b) {
#pragma unroll
  for (uint32_t k = 0; k < kRows / 16; ++k) {
    ptx::WgmmaRegistersShared<kDim, ptx::Major::kMN>(
        Flat(acc), a[k], AcrossRows(b + k * 16 * kBoxRowBytes, kRows * kBoxRowBytes), true);
  }
}

}  // namespace annulus::kernels::cuda
