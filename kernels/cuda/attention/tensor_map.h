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
  int64_t batch;
  int64_t tokens;
  int64_t rows;     // from one sequence's first to the next one's
  int64_t columns;  // heads * head_dim
};

inline MappedTensor MappedQueries(const FoldShape& s, const BFloat16* data, int batch) {
  return {data, batch, s.query_tokens, s.query_tokens, int64_t{s.heads} * s.head_dim};
}
inline MappedTensor MappedKeys(const FoldShape& s, const BFloat16* data, int batch) {
  return {data, batch, s.key_tokens, s.key_rows, int64_t{s.kv_heads} * s.head_dim};
}

// Boxes of `box_rows` x kBoxColumns of a sequence, 128-byte permuted; rows past the sequence's end
// become 0. Throws SystemError. Requires data aligned to 16 bytes, columns a multiple of 8.
CUtensorMap MapTensor(const MappedTensor& tensor, int box_rows);

}  // namespace annulus::kernels::cuda
