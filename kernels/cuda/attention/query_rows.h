// The gradient of queries: a row of scores per query.
#pragma once

#include "kernels/cuda/attention/folds.h"
#include "kernels/cuda/attention/online_softmax.h"

namespace annulus::kernels::cuda {

// The two rows of a thread.
struct TwoGradientRows {
  float lse2[2] = {INFINITY, INFINITY};
  float delta[2] = {0, 0};

  __device__ __forceinline__ TwoGradientRows(const BackwardFold<BFloat16>& p,
                                             const RowBlock& block) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int i = Lane().row + 8 * half;
      if (i >= block.rows) continue;
      lse2[half] = p.lse2[block.first + i];
      delta[half] = p.delta[block.first + i];
    }
  }

  // Scores s to p = 2^(scale2 s - lse2).
  template <int kTiles>
  __device__ __forceinline__ void ToWeights(float scale2, float (&s)[kTiles][4]) const {
#pragma unroll
    for (int i = 0; i < 4 * kTiles; ++i) {
      float& x = s[i / 4][i % 4];
      x = ptx::Exp2(fmaf(x, scale2, -lse2[i % 4 / 2]));
    }
  }

  // dp to ds = p (dp - delta).
  template <int kTiles>
  __device__ __forceinline__ void ToScoreGradients(const float (&p)[kTiles][4],
                                                   float (&dp)[kTiles][4]) const {
#pragma unroll
    for (int i = 0; i < 4 * kTiles; ++i) {
      float& x = dp[i / 4][i % 4];
      x = p[i / 4][i % 4] * (x - delta[i % 4 / 2]);
    }
  }
};

// dq rows += factor * acc.
template <int kDim>
__device__ __forceinline__ void AddQueryRows(const float (&acc)[kDim / 8][4], float factor,
                                             float* dq, const RowBlock& block) {
  ForEachPair<kDim / 8>([&](int n, int half, int row, int column) {
    if (row >= block.rows || column >= block.dim) return;
    auto* pair = reinterpret_cast<float2*>(dq + (block.first + row) * block.dim + column);
    const float2 before = *pair;
    *pair = {fmaf(factor, acc[n][2 * half], before.x),
             fmaf(factor, acc[n][2 * half + 1], before.y)};
  });
}

}  // namespace annulus::kernels::cuda
