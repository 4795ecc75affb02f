// Products of warps on bf16 tensor cores, from tiles in shared memory (mma.sync m16n8k16).
//
// A tile is rows of kDim bf16; the 16-byte chunks of a row are permuted by exclusive or with the
// row's index modulo 8, so that neither ldmatrix nor cp.async meets a bank conflict. Accumulators
// are those of m16n8: acc[n][0..1] are row g, columns 8 n + t, t + 1 and acc[n][2..3] row g + 8,
// where g = lane / 4 and t = 2 (lane % 4).
#pragma once

#include "kernels/base/bfloat16.h"
#include "kernels/cuda/attention/geometry.h"
#include "kernels/cuda/ptx.h"

namespace annulus::kernels::cuda {

// The place of a thread in a warp's m16n8 accumulators.
struct Lane {
  int lane = static_cast<int>(threadIdx.x) & 31;
  int row = lane >> 2;
  int column = (lane & 3) * 2;
};

template <int kDim>
__device__ __forceinline__ uint32_t ChunkOffset(int row, int chunk) {
  return static_cast<uint32_t>(row * kDim * 2 + ((chunk ^ (row & 7)) << 4));
}

// The address of chunk `half`, 0 or 1, of a row of the tile at `tile`. That of chunk 2 k + half is
// this one xor k * 32, and 16 rows further is 16 rows of bytes more, whatever k is: tiles are
// aligned to their rows.
template <int kDim>
__device__ __forceinline__ uint32_t ChunkAddress(uint32_t tile, int row, int half) {
  return tile + ChunkOffset<kDim>(row, half);
}

// Where a tile comes from: the address of its first row and how far apart rows are, in elements.
struct TileSource {
  const BFloat16* data;
  int64_t stride;
  int rows;  // that exist; those past them become 0
  int dim;   // elements that exist, a multiple of 8; those past them become 0
};

// One head of one sequence of a tensor [B,tokens,heads,D].
struct TensorHead {
  int batch;
  int tokens;
  int heads;
  int head;
  int dim;

  // Rows from `token` on, of which `rows` exist.
  __device__ __forceinline__ TileSource Rows(const BFloat16* tensor, int token, int rows) const {
    const int64_t stride = static_cast<int64_t>(heads) * dim;
    const int64_t first =
        (static_cast<int64_t>(batch) * tokens + token) * stride + static_cast<int64_t>(head) * dim;
    return {tensor + first, stride, rows, dim};
  }
};

__device__ __forceinline__ TensorHead QueryHead(const FoldShape& s, int batch, int head) {
  return {batch, s.query_tokens, s.heads, head, s.head_dim};
}
__device__ __forceinline__ TensorHead KeyHead(const FoldShape& s, int batch, int kv_head) {
  return {batch, s.key_tokens, s.kv_heads, kv_head, s.head_dim};
}

// Index in [B,H,T].
__device__ __forceinline__ int64_t RowIndex(const FoldShape& s, int batch, int head, int token) {
  return (static_cast<int64_t>(batch) * s.heads + head) * s.query_tokens + token;
}

// Starts copying kRows rows to shared memory at `to`, by all threads of a block of kThreads.
template <int kDim, int kRows, int kThreads>
__device__ __forceinline__ void StartTile(uint32_t to, const TileSource& from) {
  constexpr int kChunks = kDim / 8;
  static_assert(kRows * kChunks % kThreads == 0);
#pragma unroll
  for (int step = 0; step < kRows * kChunks / kThreads; ++step) {
    const int i = step * kThreads + static_cast<int>(threadIdx.x);
    const int row = i / kChunks, chunk = i % kChunks;
    const bool exists = row < from.rows && chunk * 8 < from.dim;
    const BFloat16* source = from.data + (exists ? row * from.stride + chunk * 8 : 0);
    ptx::CpAsync16(to + ChunkOffset<kDim>(row, chunk), source, exists);
  }
}

// acc [16 x kColumns] += A B^T; A is the 16 rows from `row` on of the tile at `a`, B the kColumns
// rows of that at `b`.
template <int kDim, int kColumns>
__device__ __forceinline__ void RowsTimesRows(float (&acc)[kColumns / 8][4], uint32_t a, int row,
                                              uint32_t b) {
  const int lane = Lane().lane;
  const uint32_t a_rows = ChunkAddress<kDim>(a, row + (lane & 15), lane >> 4);
  const uint32_t b_rows = ChunkAddress<kDim>(b, (lane & 7) + (lane >> 4) * 8, (lane >> 3) & 1);
#pragma unroll
  for (uint32_t k = 0; k < kDim / 16; ++k) {
    uint32_t fragment[4];
    ptx::LdMatrixX4(fragment, a_rows ^ (k * 32));
#pragma unroll
    for (uint32_t n = 0; n < kColumns / 16; ++n) {
      uint32_t other[4];
      ptx::LdMatrixX4(other, (b_rows ^ (k * 32)) + n * 16 * kDim * 2);
      ptx::MmaBf16(acc[2 * n], fragment, other[0], other[1]);
      ptx::MmaBf16(acc[2 * n + 1], fragment, other[2], other[3]);
    }
  }
}

// Accumulators [16 x 8 kTiles], rounded to bf16, as the left operand of the next product.
template <int kTiles>
__device__ __forceinline__ void PackRows(const float (&acc)[kTiles][4],
                                         uint32_t (&a)[kTiles / 2][4]) {
#pragma unroll
  for (int k = 0; k < kTiles / 2; ++k) {
    a[k][0] = ptx::PackBf16(acc[2 * k][0], acc[2 * k][1]);
    a[k][1] = ptx::PackBf16(acc[2 * k][2], acc[2 * k][3]);
    a[k][2] = ptx::PackBf16(acc[2 * k + 1][0], acc[2 * k + 1][1]);
    a[k][3] = ptx::PackBf16(acc[2 * k + 1][2], acc[2 * k + 1][3]);
  }
}

// acc [16 x kDim] += A B; A [16 x 16 kSteps] as PackRows left it, B the rows of the tile at `b`.
template <int kDim, int kSteps>
__device__ __forceinline__ void AddTimesTile(float (&acc)[kDim / 8][4],
                                             const uint32_t (&a)[kSteps][4], uint32_t b) {
  const int lane = Lane().lane;
  const uint32_t b_rows = ChunkAddress<kDim>(b, lane & 15, lane >> 4);
#pragma unroll
  for (uint32_t k = 0; k < kSteps; ++k) {
#pragma unroll
    for (uint32_t n = 0; n < kDim / 16; ++n) {
      uint32_t other[4];
      ptx::LdMatrixX4Trans(other, (b_rows ^ (n * 32)) + k * 16 * kDim * 2);
      ptx::MmaBf16(acc[2 * n], a[k], other[0], other[1]);
      ptx::MmaBf16(acc[2 * n + 1], a[k], other[2], other[3]);
    }
  }
}

template <int kTiles>
__device__ __forceinline__ void Clear(float (&acc)[kTiles][4]) {
#pragma unroll
  for (int n = 0; n < kTiles; ++n) {
#pragma unroll
    for (int i = 0; i < 4; ++i) acc[n][i] = 0;
  }
}

// Bit 4 n + i is set where allowed(half, row, column) of acc[n][i] is. In a loop, not unrolled: for
// what takes many instructions to say.
template <int kTiles, class Allowed>
__device__ __forceinline__ uint64_t BitsOf(Allowed allowed) {
  static_assert(4 * kTiles <= 64);
  const Lane lane;
  uint64_t bits = 0;
#pragma unroll 1
  for (int i = 0; i < 4 * kTiles; ++i) {
    const int half = (i >> 1) & 1;
    const bool is = allowed(half, lane.row + 8 * half, (i >> 2) * 8 + lane.column + (i & 1));
    bits |= static_cast<uint64_t>(is) << i;
  }
  return bits;
}

// Calls visit(n, half, row, column) for every pair of neighbours acc[n][2 half], acc[n][2 half +
// 1], which are columns `column` and the next of `row`.
template <int kTiles, class Visit>
__device__ __forceinline__ void ForEachPair(Visit visit) {
  const Lane lane;
#pragma unroll
  for (int n = 0; n < kTiles; ++n) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      visit(n, half, lane.row + 8 * half, 8 * n + lane.column);
    }
  }
}

}  // namespace annulus::kernels::cuda
