// The two halves of the backward pass on bf16 tensor cores have one tiling: 128 rows of two tensors
// stay in shared memory, 16 rows of each to a warp, and tiles of two other tensors pass by. For the
// gradients of keys, K and V stay, Q and dO pass; for that of queries, Q and dO stay, K and V pass.
#pragma once

#include "kernels/cuda/attention/folds.h"
#include "kernels/cuda/attention/mma_tile.h"
#include "kernels/cuda/attention/visible.h"

namespace annulus::kernels::cuda {

template <int kDimension>
struct BackwardTiling {
  static constexpr int kDim = kDimension;
  static constexpr int kStaying = 128;
  static constexpr int kPassing = kDim <= 64 ? 64 : 32;
  static constexpr int kThreads = kStaying / 16 * 32;
  static constexpr uint32_t kStayingBytes = kStaying * kDim * 2;
  static constexpr uint32_t kPassingBytes = kPassing * kDim * 2;
  // Two staying tensors, two stages of two passing ones.
  static constexpr uint32_t kTileBytes = 2 * kStayingBytes + 4 * kPassingBytes;

  // Starts copying `tile` of two tensors [B,tokens,heads,D], to `to` and kRows rows later.
  template <int kRows>
  static __device__ __forceinline__ void Start(const BFloat16* x, const BFloat16* y,
                                               const TensorHead& at, const Tile& tile,
                                               uint32_t to) {
    StartTile<kDim, kRows, kThreads>(to, at.Rows(x, tile.token, tile.count));
    StartTile<kDim, kRows, kThreads>(to + kRows * kDim * 2, at.Rows(y, tile.token, tile.count));
  }
};

void MmaBackwardKeys(const BackwardLaunch<BFloat16>& launch);
void MmaBackwardQueries(const BackwardLaunch<BFloat16>& launch);

}  // namespace annulus::kernels::cuda
