// Tiles of the backward pass on Hopper and where a block keeps them.
//
// A block keeps 128 keys and their values, 64 to each of two consumer warpgroups; tiles of 64
// queries and of their output gradients pass by, fetched by a producer warp. Consumers leave the
// gradients of scores in shared memory, for the product that sums them over all 128 keys, and its
// result beside them, for the warps that add it to dq.
#pragma once

#include "kernels/cuda/attention/folds.h"
#include "kernels/cuda/attention/hopper_pipeline.h"
#include "kernels/cuda/attention/hopper_tile.h"
#include "kernels/cuda/attention/key_rows.h"
#include "kernels/cuda/attention/turns.h"

namespace annulus::kernels::cuda {

template <int kDimension>
struct HopperBackwardTiling {
  static constexpr int kDim = kDimension;
  static constexpr int kConsumers = 2;  // warpgroups
  static constexpr int kKeys = 64 * kConsumers;
  static constexpr int kQueries = 64;  // that pass at once
  static constexpr int kThreads = kWarpgroup * (kConsumers + 1);
  static constexpr int kConsumerRegisters = 240;
  static constexpr int kProducerRegisters = 24;
  static constexpr int kBoxes = kDim / kBoxColumns;
  static constexpr uint32_t kKeyBox = kKeys * kBoxRowBytes;
  static constexpr uint32_t kQueryBox = kQueries * kBoxRowBytes;
  static constexpr uint32_t kKeyBytes = kKeyBox * kBoxes;
  static constexpr uint32_t kQueryBytes = kQueryBox * kBoxes;
  static constexpr uint32_t kGradientBytes = kKeyBox;  // dS, a row per key
  // dq of the tile, f32: rows are 8 banks apart, so that four of them are in different ones.
  static constexpr uint32_t kSumRowBytes = 4 * kDim + 32;
  static constexpr uint32_t kTileBytes = 2 * kKeyBytes + 2 * kStages * kQueryBytes +
                                         kStages * kGradientBytes + kQueries * kSumRowBytes;
  // Consumers compute a box of columns of dq each or, where it has one alone, take turns.
  static constexpr bool kTakeTurns = kBoxes == 1;
  static constexpr int kSumWarps = 4 * (kTakeTurns ? 1 : kConsumers);
  static constexpr int kWriters = 3;  // warps
  static_assert(kBoxes <= kConsumers && kQueries == kBoxColumns);
};

struct BackwardMaps {
  CUtensorMap k, v, q, dout;
};

template <class Shape>
BackwardMaps MapBackward(const BackwardLaunch<BFloat16>& launch) {
  const BackwardFold<BFloat16>& f = launch.fold;
  return {MapTensor(MappedKeys(f.shape, f.k, launch.batch), Shape::kKeys),
          MapTensor(MappedKeys(f.shape, f.v, launch.batch), Shape::kKeys),
          MapTensor(MappedQueries(f.shape, f.q, launch.batch), Shape::kQueries),
          MapTensor(MappedQueries(f.shape, f.dout, launch.batch), Shape::kQueries)};
}

// Whose sums a writer adds where. A tile without queries: the walk is over.
struct SumNote {
  Tile queries;
  int left = 0;     // by the writer: the word that it leaves
  int64_t row = 0;  // the first one's, in [B,H,T]
};
// When the producer leaves one, writers may still read those of the 6 tiles before; and it leaves
// as many as there are writers at the end, at once.
inline constexpr uint32_t kSumNotes = 16;

// After the tiles in shared memory.
template <class Shape>
struct BackwardNotes {
  uint64_t full_keys;
  uint64_t full[kStages], empty[kStages];
  uint64_t full_sum[Shape::kWriters], empty_sum[Shape::kWriters];
  uint64_t full_note[kSumNotes];
  SumNote sums[kSumNotes];
  Visibility visibility[kStages];  // kNone: the walk is over
  QueryRows<Shape::kQueries> rows[kStages];
  KeyWork work;
  Tile keys;

  // By one thread: tells the writer of the tile-th tile of it.
  __device__ __forceinline__ void Leave(uint32_t tile, const SumNote& note) {
    sums[tile % kSumNotes] = note;
    ptx::MbarrierArrive(At(full_note[tile % kSumNotes]));
  }

  // By one thread.
  __device__ __forceinline__ void Init() {
    constexpr int kConsumerWarps = 4 * Shape::kConsumers;
    ptx::MbarrierInit(At(full_keys), 1);
    for (uint32_t s = 0; s < kStages; ++s) {
      ptx::MbarrierInit(At(full[s]), 1);
      ptx::MbarrierInit(At(empty[s]), kConsumerWarps);
    }
    for (int w = 0; w < Shape::kWriters; ++w) {
      ptx::MbarrierInit(At(full_sum[w]), Shape::kSumWarps);
      ptx::MbarrierInit(At(empty_sum[w]), 1);
    }
    for (uint64_t& note : full_note) ptx::MbarrierInit(At(note), 1);
    ptx::FenceMbarrierInit();
  }
};

// Shared memory of a block, as addresses of tiles.
template <class Shape>
struct BackwardRoom {
  uint32_t base;

  __device__ __forceinline__ uint32_t k() const { return base; }
  __device__ __forceinline__ uint32_t v() const { return base + Shape::kKeyBytes; }
  __device__ __forceinline__ uint32_t q(uint32_t stage) const {
    return base + 2 * Shape::kKeyBytes + 2 * stage * Shape::kQueryBytes;
  }
  __device__ __forceinline__ uint32_t dout(uint32_t stage) const {
    return q(stage) + Shape::kQueryBytes;
  }
  // A consumer may be at the next tile's while the other still needs the last one's.
  __device__ __forceinline__ uint32_t gradients(uint32_t stage) const {
    return q(kStages) + stage * Shape::kGradientBytes;
  }
  __device__ __forceinline__ uint32_t sums() const { return gradients(kStages); }

  // By one thread: a tile of two tensors that lie alike.
  __device__ __forceinline__ void FetchKeys(const BackwardMaps& maps, const Corner& corner,
                                            uint32_t full) const {
    ptx::MbarrierArriveExpect(full, 2 * Shape::kKeyBytes);
    Fetch<Shape::kBoxes>(maps.k, corner, k(), Shape::kKeyBox, full);
    Fetch<Shape::kBoxes>(maps.v, corner, v(), Shape::kKeyBox, full);
  }
  __device__ __forceinline__ void FetchQueries(const BackwardMaps& maps, const Corner& corner,
                                               uint32_t stage, uint32_t full) const {
    ptx::MbarrierArriveExpect(full, 2 * Shape::kQueryBytes);
    Fetch<Shape::kBoxes>(maps.q, corner, q(stage), Shape::kQueryBox, full);
    Fetch<Shape::kBoxes>(maps.dout, corner, dout(stage), Shape::kQueryBox, full);
  }
};

}  // namespace annulus::kernels::cuda
