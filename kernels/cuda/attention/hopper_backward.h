// The two halves of the backward pass on Hopper, which have one tiling, as in mma_backward.h: 128
// rows of two tensors stay in shared memory, 64 to each of two consumer warpgroups, and tiles of 64
// rows of two other tensors pass by, fetched by a producer warp.
#pragma once

#include "kernels/cuda/attention/folds.h"
#include "kernels/cuda/attention/hopper_pipeline.h"
#include "kernels/cuda/attention/hopper_tile.h"
#include "kernels/cuda/launch.h"

namespace annulus::kernels::cuda {

template <int kDimension>
struct HopperBackwardTiling {
  static constexpr int kDim = kDimension;
  static constexpr int kConsumers = 2;  // warpgroups
  static constexpr int kStaying = 64 * kConsumers;
  static constexpr int kPassing = 64;
  static constexpr int kThreads = kWarpgroup * (kConsumers + 1);
  static constexpr int kConsumerRegisters = 240;
  static constexpr int kProducerRegisters = 24;
  static constexpr int kBoxes = kDim / kBoxColumns;
  static constexpr uint32_t kStayingBox = kStaying * kBoxRowBytes;
  static constexpr uint32_t kPassingBox = kPassing * kBoxRowBytes;
  static constexpr uint32_t kStayingBytes = kStayingBox * kBoxes;
  static constexpr uint32_t kPassingBytes = kPassingBox * kBoxes;
  static constexpr uint32_t kTileBytes = 2 * kStayingBytes + 2 * kStages * kPassingBytes;
};

struct BackwardMaps {
  CUtensorMap staying[2];
  CUtensorMap passing[2];
};

struct BackwardBarriers {
  uint64_t full_staying;
  uint64_t full[kStages], empty[kStages];

  // By one thread.
  template <class Shape>
  __device__ __forceinline__ void Init() {
    ptx::MbarrierInit(At(full_staying), 1);
    for (int s = 0; s < kStages; ++s) {
      ptx::MbarrierInit(At(full[s]), 1);
      ptx::MbarrierInit(At(empty[s]), 4 * Shape::kConsumers);
    }
    ptx::FenceMbarrierInit();
  }
};

// Shared memory of a block, as addresses of tiles.
template <class Shape>
struct BackwardRoom {
  uint32_t base;

  __device__ __forceinline__ uint32_t staying(int tensor) const {
    return base + static_cast<uint32_t>(tensor) * Shape::kStayingBytes;
  }
  __device__ __forceinline__ uint32_t passing(int tensor, uint32_t stage) const {
    return staying(2) + (2 * stage + static_cast<uint32_t>(tensor)) * Shape::kPassingBytes;
  }

  // By one thread: a tile of both tensors.
  __device__ __forceinline__ void FetchStaying(const BackwardMaps& maps, const Corner& corner,
                                               uint32_t full) const {
    ptx::MbarrierArriveExpect(full, 2 * Shape::kStayingBytes);
    for (int t = 0; t < 2; ++t) {
      Fetch<Shape::kBoxes>(maps.staying[t], corner, staying(t), Shape::kStayingBox, full);
    }
  }
  __device__ __forceinline__ void FetchPassing(const BackwardMaps& maps, const Corner& corner,
                                               uint32_t stage, uint32_t full) const {
    ptx::MbarrierArriveExpect(full, 2 * Shape::kPassingBytes);
    for (int t = 0; t < 2; ++t) {
      Fetch<Shape::kBoxes>(maps.passing[t], corner, passing(t, stage), Shape::kPassingBox, full);
    }
  }

  // Starts S and dP of a consumer's 64 rows of the staying tensors with the passing tile, as a
  // group each.
  __device__ __forceinline__ void StartScores(int consumer, uint32_t stage,
                                              float (&s)[Shape::kPassing / 8][4],
                                              float (&dp)[Shape::kPassing / 8][4]) const {
    constexpr int kDim = Shape::kDim, kStaying = Shape::kStaying, kPassing = Shape::kPassing;
    const uint32_t rows = static_cast<uint32_t>(consumer) * 64 * kBoxRowBytes;
    ptx::WgmmaFence();
    StartRowsTimesRows<kDim, kStaying, kPassing>(s, staying(0) + rows, passing(0, stage));
    ptx::WgmmaCommit();
    StartRowsTimesRows<kDim, kStaying, kPassing>(dp, staying(1) + rows, passing(1, stage));
    ptx::WgmmaCommit();
  }
};

// Maps of [B,tokens,heads,D] tensors.
template <class Shape>
BackwardMaps MapBackward(const BackwardLaunch<BFloat16>& launch, bool keys_stay) {
  const BackwardFold<BFloat16>& f = launch.fold;
  const FoldShape& s = f.shape;
  const auto queries = [&](const BFloat16* x, int rows) {
    return MapTensor(MappedQueries(s, x, launch.batch), rows);
  };
  const auto keys = [&](const BFloat16* x, int rows) {
    return MapTensor(MappedKeys(s, x, launch.batch), rows);
  };
  constexpr int kStay = Shape::kStaying, kPass = Shape::kPassing;
  if (keys_stay) {
    return {{keys(f.k, kStay), keys(f.v, kStay)}, {queries(f.q, kPass), queries(f.dout, kPass)}};
  }
  return {{queries(f.q, kStay), queries(f.dout, kStay)}, {keys(f.k, kPass), keys(f.v, kPass)}};
}

void HopperBackwardKeys(const BackwardLaunch<BFloat16>& launch);
void HopperBackwardQueries(const BackwardLaunch<BFloat16>& launch);

}  // namespace annulus::kernels::cuda
