// How the copy engine of Hopper (TMA) finds tiles of a tensor [B,tokens,heads,D] of bf16.
#pragma once

#include <cuda.h>

#include "kernels/base/bfloat16.h"
#include "kernels/cuda/attention/geometry.h"

namespace annulus::kernels::cuda {

// Columns of a box: 128 bytes, the period of the permutation by which it lies in shared memory.
inline constexpr int kBoxColumns = 64;

struct MappedTensor {
  const BFloat16* data;
  int64_t rows;     // batch * tokens
  int64_t columns;  // heads * head_dim
};

// Boxes of `box_rows` x kBoxColumns of the tensor as a matrix, 128-byte permuted; rows past its end
// become 0. Throws SystemError. Requires data aligned to 16 bytes, columns a multiple of 8.
CUtensorMap MapTensor(const MappedTensor& tensor, int box_rows);

}  // namespace annulus::kernels::cuda
