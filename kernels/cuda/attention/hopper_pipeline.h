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

// Has the boxes of a tile copied to `to` from row and column on; their bytes count towards `full`,
// which has been told to expect them.
template <int kBoxes>
__device__ __forceinline__ void Fetch(const CUtensorMap& map, int column, int row, uint32_t to,
                                      uint32_t box_bytes, uint32_t full) {
#pragma unroll
  for (uint32_t box = 0; box < kBoxes; ++box) {
    ptx::TmaLoad2d(to + box * box_bytes, &map, column + static_cast<int>(box) * kBoxColumns, row,
                   full);
  }
}

// By each warp of the consumers, when none of its threads will read the stage any more.
__device__ __forceinline__ void Release(const uint64_t& empty) {
  __syncwarp();
  if (threadIdx.x % 32 == 0) ptx::MbarrierArrive(At(empty));
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
