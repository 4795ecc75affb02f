// How the producer warp of a block on Hopper hands tiles to its consumer warpgroups.
#pragma once

#include "kernels/cuda/attention/tensor_map.h"
#include "kernels/cuda/ptx.h"
#include "kernels/cuda/ptx_hopper.h"

namespace annulus::kernels::cuda {

inline constexpr int kWarpgroup = 128;  // threads
inline constexpr int kStages = 2;

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

// By each warp of the consumers, when none of its threads will read the stage any more.
__device__ __forceinline__ void Release(const uint64_t& empty) {
  __syncwarp();
  if (threadIdx.x % 32 == 0) ptx::MbarrierArrive(At(empty));
}

// The last warpgroup of a block gives registers to the others and has one warp call produce(); the
// others, from 0 on, call consume(warpgroup).
template <class Shape, class Produce, class Consume>
__device__ __forceinline__ void SplitWarpgroups(const Produce& produce, const Consume& consume) {
  const int warpgroup = static_cast<int>(threadIdx.x) / kWarpgroup;
  if (warpgroup == Shape::kConsumers) {
    ptx::ReleaseRegisters<Shape::kProducerRegisters>();
    if (threadIdx.x / 32 % 4 == 0) produce();
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

  __device__ __forceinline__ void Advance() {
    if (++stage == kStages) {
      stage = 0;
      round ^= 1;
    }
  }
};

}  // namespace annulus::kernels::cuda
