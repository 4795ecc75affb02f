// The gradients of keys, with scores transposed: a row per key, a column per query.
//
// Threads know their two keys; what they need of queries stands in shared memory beside the tile.
#pragma once

#include "kernels/cuda/attention/folds.h"
#include "kernels/cuda/attention/mma_tile.h"
#include "kernels/cuda/attention/visible.h"

namespace annulus::kernels::cuda {

// What the rows of a passing tile of queries say of each query.
template <int kPassing>
struct QueryRows {
  float lse2[kPassing];
  float delta[kPassing];
  int position[kPassing];
  int first_key[kPassing];
  int last_key[kPassing];

  // Query i of a tile whose first row in [B,H,T] is `row`.
  __device__ __forceinline__ void Fill(const BackwardFold<BFloat16>& p, int64_t row,
                                       const Tile& queries, int i) {
    const bool exists = i < queries.count;
    lse2[i] = exists ? p.lse2[row + i] : INFINITY;
    delta[i] = exists ? p.delta[row + i] : 0;
    const KeyRange range = KeysOf(p.mask, queries, i);
    position[i] = queries.at(i);
    first_key[i] = range.first;
    last_key[i] = range.last;
  }
};

// Walks the heads of a group and the tiles of queries of each.
template <bool kPatterns = true>
class GroupWalk {
 public:
  __device__ __forceinline__ GroupWalk(const BackwardFold<BFloat16>& p, const Tile& keys, int size)
      : walk_(p.mask, keys, p.queries, size), heads_(p.shape.group) {}

  struct Step {
    VisibleTile queries;
    int head_in_group = 0;
  };
  __device__ __forceinline__ Step WarpNext() {
    while (head_ < heads_) {
      const VisibleTile tile = walk_.WarpNext();
      if (tile.visibility != Visibility::kNone) return {tile, head_};
      ++head_;
      walk_.Restart();
    }
    return {};
  }

 private:
  QueryTileWalk<kPatterns> walk_;
  int heads_, head_ = 0;
};

// The positions of a thread's two keys, in rows `lane.row` and `lane.row + 8` from `first_key` on;
// that of a key which does not exist is in no query's range.
struct TwoKeys {
  int position[2];

  __device__ __forceinline__ TwoKeys(const Tile& keys, int first_key) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = first_key + Lane().row + 8 * half;
      position[half] = row < keys.count ? keys.at(row) : -1;
    }
  }
};

// Scores [16 keys x kPassing queries] to -inf where the pair is not allowed. Ranges are read in a
// loop: all at once they take the registers that a walk's sums are in.
template <bool kPatterns, int kPassing>
__device__ __forceinline__ void MaskKeyRows(const DeviceMask& mask, const TwoKeys& keys,
                                            const QueryRows<kPassing>& rows, Visibility visibility,
                                            float (&s)[kPassing / 8][4]) {
  if (visibility == Visibility::kAll) return;
  const bool patterns = kPatterns && visibility == Visibility::kBlocks;
  const uint64_t allowed = BitsOf<kPassing / 8>([&](int half, int, int column) {
    const int key = half == 0 ? keys.position[0] : keys.position[1];
    if (key < rows.first_key[column] || key > rows.last_key[column]) return false;
    return !patterns || Selects(mask, rows.position[column], key);
  });
#pragma unroll
  for (int i = 0; i < kPassing / 2; ++i) {
    if ((allowed >> i & 1) == 0) s[i / 4][i % 4] = -INFINITY;
  }
}

// Scores s to p = 2^(scale2 s - lse2).
template <int kPassing>
__device__ __forceinline__ void ToWeights(const QueryRows<kPassing>& rows, float scale2,
                                          float (&s)[kPassing / 8][4]) {
  ForEachPair<kPassing / 8>([&](int n, int half, int, int column) {
#pragma unroll
    for (int e = 0; e < 2; ++e) {
      float& x = s[n][2 * half + e];
      x = ptx::Exp2(fmaf(x, scale2, -rows.lse2[column + e]));
    }
  });
}

// dp to ds = p (dp - delta).
template <int kPassing>
__device__ __forceinline__ void ToScoreGradients(const QueryRows<kPassing>& rows,
                                                 const float (&p)[kPassing / 8][4],
                                                 float (&dp)[kPassing / 8][4]) {
  ForEachPair<kPassing / 8>([&](int n, int half, int, int column) {
#pragma unroll
    for (int e = 0; e < 2; ++e) {
      const int i = 2 * half + e;
      dp[n][i] = p[n][i] * (dp[n][i] - rows.delta[column + e]);
    }
  });
}

// to [S,Hkv,D] rows += factor * acc.
template <int kDim>
__device__ __forceinline__ void AddRows(const float (&acc)[kDim / 8][4], float factor, float* to,
                                        const TensorHead& at, int token, int rows) {
  const int64_t stride = static_cast<int64_t>(at.heads) * at.dim;
  float* first = to + (static_cast<int64_t>(at.batch) * at.tokens + token) * stride +
                 static_cast<int64_t>(at.head) * at.dim;
  ForEachPair<kDim / 8>([&](int n, int half, int row, int column) {
    if (row >= rows || column >= at.dim) return;
    auto* pair = reinterpret_cast<float2*>(first + row * stride + column);
    const float2 before = *pair;
    *pair = {fmaf(factor, acc[n][2 * half], before.x),
             fmaf(factor, acc[n][2 * half + 1], before.y)};
  });
}

}  // namespace annulus::kernels::cuda
