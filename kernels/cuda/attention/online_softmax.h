// The running softmax of two rows per thread, over scores held as m16n8 accumulators.
//
// mma.sync and wgmma leave 16 rows of a warp alike, so both kinds of kernels use this. A row's
// columns are spread over the four threads of a quad.
#pragma once

#include "kernels/cuda/attention/mma_tile.h"
#include "kernels/cuda/attention/row_end.h"
#include "kernels/cuda/attention/visible.h"

namespace annulus::kernels::cuda {

// The rows `lane.row` and `lane.row + 8` of a warp's 16.
struct TwoRows {
  int query[2];      // positions
  KeyRange keys[2];  // none for a row that does not exist

  __device__ __forceinline__ TwoRows(const DeviceMask& mask, const Tile& queries, int first_row) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = first_row + Lane().row + 8 * half;
      query[half] = queries.at(row);
      keys[half] = KeysOf(mask, queries, row);
    }
  }
};

// -inf where the pair is not allowed or the key does not exist. Without kPatterns, for masks that
// are no block pattern.
template <bool kPatterns = true, int kTiles>
__device__ __forceinline__ void MaskScores(const DeviceMask& mask, const TwoRows& rows,
                                           const VisibleTile& keys, float (&scores)[kTiles][4]) {
  if (keys.visibility == Visibility::kAll && keys.tile.count == 8 * kTiles) return;
  const KeyColumns columns[2] = {{rows.keys[0], keys.tile}, {rows.keys[1], keys.tile}};
  ForEachPair<kTiles>([&](int n, int half, int, int column) {
#pragma unroll
    for (int e = 0; e < 2; ++e) {
      if (!columns[half].Has(column + e)) scores[n][2 * half + e] = -INFINITY;
    }
  });
  if (!kPatterns || keys.visibility != Visibility::kBlocks) return;
  const uint64_t selected = BitsOf<kTiles>([&](int half, int, int column) {
    return Selects(mask, half == 0 ? rows.query[0] : rows.query[1], keys.tile.at(column));
  });
#pragma unroll
  for (int i = 0; i < 4 * kTiles; ++i) {
    if ((selected >> i & 1) == 0) scores[i / 4][i % 4] = -INFINITY;
  }
}

struct OnlineSoftmax {
  float max[2] = {-INFINITY, -INFINITY};  // in units of base 2
  float sum[2] = {0, 0};                  // this thread's columns only

  // Replaces scores by 2^(scale2 * score - max) and takes them into the sums. `factor` is what the
  // outputs so far are to be multiplied by. Requires scale2 > 0.
  template <int kTiles>
  __device__ __forceinline__ void Take(float (&scores)[kTiles][4], float scale2,
                                       float (&factor)[2]) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float top = -INFINITY;
#pragma unroll
      for (int n = 0; n < kTiles; ++n) {
        top = fmaxf(top, fmaxf(scores[n][2 * half], scores[n][2 * half + 1]));
      }
      top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 1));
      top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 2));
      const float next = fmaxf(max[half], top * scale2);
      // A row without keys so far has no maximum to subtract: its exponentials are 2^-inf.
      const float reference = next == -INFINITY ? 0 : next;
      factor[half] = ptx::Exp2(max[half] - reference);
      max[half] = next;
      float total = 0;
#pragma unroll
      for (int n = 0; n < kTiles; ++n) {
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          float& x = scores[n][2 * half + e];
          x = ptx::Exp2(fmaf(x, scale2, -reference));
          total += x;
        }
      }
      sum[half] = fmaf(sum[half], factor[half], total);
    }
  }

  // Of all columns, in every thread of the quad.
  __device__ __forceinline__ float Total(int half) const {
    float total = sum[half];
    total += __shfl_xor_sync(0xffffffffu, total, 1);
    return total + __shfl_xor_sync(0xffffffffu, total, 2);
  }
};

// acc rows times `factor`.
template <int kTiles>
__device__ __forceinline__ void ScaleRows(float (&acc)[kTiles][4], const float (&factor)[2]) {
#pragma unroll
  for (int n = 0; n < kTiles; ++n) {
#pragma unroll
    for (int i = 0; i < 4; ++i) acc[n][i] *= factor[i / 2];
  }
}

// A warp's 16 rows of accumulators [B,H,T,D] and vectors [B,H,T] in memory.
struct RowBlock {
  int64_t first;  // index of the first in [B,H,T]
  int rows;       // that exist; may be 0 or less
  int dim;
};

// Those rows of what the last fold overwrites.
struct OutputRows {
  BFloat16* out;
  int64_t stride;  // from row to row, in elements
  float* lse;

  // From query `token` on.
  __device__ __forceinline__ OutputRows(const ForwardFold<BFloat16>& p, int batch, int head,
                                        int token)
      : stride(static_cast<int64_t>(p.shape.heads) * p.shape.head_dim),
        lse(p.outputs.lse + RowIndex(p.shape, batch, head, token)) {
    out = p.outputs.out + (static_cast<int64_t>(batch) * p.shape.query_tokens + token) * stride +
          static_cast<int64_t>(head) * p.shape.head_dim;
  }
};

// A warp's 16 rows of the running state, as accumulators.
template <int kDim>
class RunningRows {
 public:
  OnlineSoftmax softmax;
  float out[kDim / 8][4];

  __device__ __forceinline__ void Load(const float* memory_out, const float* max, const float* sum,
                                       const RowBlock& block) {
    const Lane lane;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = lane.row + 8 * half;
      if (row >= block.rows) continue;
      softmax.max[half] = max[block.first + row];
      softmax.sum[half] = lane.column == 0 ? sum[block.first + row] : 0;
    }
    ForEachPair<kDim / 8>([&](int n, int half, int row, int column) {
      const bool written = softmax.max[half] != -INFINITY && column < block.dim;
      const float2 x = written ? *reinterpret_cast<const float2*>(
                                     memory_out + (block.first + row) * block.dim + column)
                               : float2{0, 0};
      out[n][2 * half] = x.x;
      out[n][2 * half + 1] = x.y;
    });
  }

  __device__ __forceinline__ void Store(float* memory_out, float* max, float* sum,
                                        const RowBlock& block) const {
    const Lane lane;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = lane.row + 8 * half;
      const float total = softmax.Total(half);
      if (row >= block.rows || lane.column != 0) continue;
      max[block.first + row] = softmax.max[half];
      sum[block.first + row] = total;
    }
    ForEachPair<kDim / 8>([&](int n, int half, int row, int column) {
      if (row >= block.rows || column >= block.dim) return;
      *reinterpret_cast<float2*>(memory_out + (block.first + row) * block.dim + column) =
          float2{out[n][2 * half], out[n][2 * half + 1]};
    });
  }

  // Overwrites what the pass ends in; a row without keys, in this fold or any, too.
  __device__ __forceinline__ void Finish(const OutputRows& to, const RowBlock& block) const {
    const Lane lane;
    const RowEnd ends[2] = {{softmax.max[0], softmax.Total(0)}, {softmax.max[1], softmax.Total(1)}};
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = lane.row + 8 * half;
      if (row < block.rows && lane.column == 0) to.lse[row] = ends[half].lse;
    }
    ForEachPair<kDim / 8>([&](int n, int half, int row, int column) {
      if (row >= block.rows || column >= block.dim) return;
      *reinterpret_cast<uint32_t*>(to.out + row * to.stride + column) =
          ptx::PackBf16(ends[half].Out(out[n][2 * half]), ends[half].Out(out[n][2 * half + 1]));
    });
  }
};

}  // namespace annulus::kernels::cuda
