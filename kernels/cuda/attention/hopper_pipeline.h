// How the producer warp of a block on Hopper hands tiles to its consumer warpgroups.
#pragma once

#include "kernels/cuda/attention/tensor_map.h"
#include "kernels/cuda/ptx.h"
#include "kernels/cuda/ptx_hopper.h"

namespace annulus::kernels::cuda {

inline constexpr int kWarpgroup = 128;  // threads
inline constexpr uint32_t kStages = 2;

__device__ __forceinline__ uint32_t At(const uint64_t& barrier) {
  return ptx::SharedAddress(&barrier);
}

// Where a tile begins in a mapped tensor.
struct Corner {
  int column;
  int token;
  int batch;
};

// Has the boxes of a tile copied to `to` from `corner` on; their bytes count towards `full`, which
// has been told to expect them.
template <int kBoxes>
__device__ __forceinline__ void Fetch(const CUtensorMap& map, const Corner& corner, uint32_t to,
                                      uint32_t box_bytes, uint32_t full) {
#pragma unroll
  for (uint32_t box = 0; box < kBoxes; ++box) {
    ptx::TmaLoad3d(to + box * box_bytes, &map, corner.column + static_cast<int>(box) * kBoxColumns,
                   corner.token, corner.batch, full);
  }
}

// By each warp of the consumers, when none of its threads will touch any more what those who wait
// for the barrier are to have.
__device__ __forceinline__ void Release(const uint64_t& barrier) {
  __syncwarp();
  if (threadIdx.x % 32 == 0) ptx::MbarrierArrive(At(barrier));
}

// The last warpgroup of a block gives registers to the others and calls serve(warp), for its warps
// 0 to 3; the others, from 0 on, call consume(warpgroup).
template <class Shape, class Serve, class Consume>
__device__ __forceinline__ void SplitWarpgroups(const Serve& serve, const Consume& consume) {
  // A block has as many registers as all of its threads may have alike, in units of 8.
  constexpr int kGiven = 65536 / Shape::kThreads / 8 * 8 * (Shape::kConsumers + 1);
  static_assert(Shape::kThreads == kWarpgroup * (Shape::kConsumers + 1));
  static_assert(Shape::kConsumers * Shape::kConsumerRegisters + Shape::kProducerRegisters <= kGiven,
                "consumers would wait for registers for ever");
  // Told by one lane, which has the compiler see that all have it: descriptors of products are
  // computed once a warp then.
  const int warp = __shfl_sync(0xffffffffu, static_cast<int>(threadIdx.x) / 32, 0);
  const int warpgroup = warp / 4;
  if (warpgroup == Shape::kConsumers) {
    ptx::ReleaseRegisters<Shape::kProducerRegisters>();
    serve(warp % 4);
  } else {
    ptx::ClaimRegisters<Shape::kConsumerRegisters>();
    consume(warpgroup);
  }
}

// A ring of kStages stages in shared memory, each with a barrier that says it is full and one that
// says it is empty. A thread keeps the place it is at: stage and how often the ring has gone round.
struct RingPlace {
  uint32_t stage = 0;
  uint32_t round = 0;

  RingPlace() = default;
  // After so many advances.
  __device__ __forceinline__ explicit RingPlace(uint32_t advances)
      : stage(advances % kStages), round(advances / kStages & 1) {}

  __device__ __forceinline__ void Advance() {
    if (++stage == kStages) {
      stage = 0;
      round ^= 1;
    }
  }
};

}  // namespace annulus::kernels::cuda
