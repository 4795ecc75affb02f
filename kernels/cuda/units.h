// Memory that is moved and not computed on, in the widest accesses that its rows allow.
#pragma once

#include <cstdint>

#include "kernels/cuda/element.h"

namespace annulus::kernels::cuda {

// What one access moves, whatever it means.
template <int kBytes>
struct alignas(kBytes) Unit {
  unsigned char byte[kBytes];
};

// Calls visit(unit) with a Unit of the greatest size that divides `alignment`, a power of two up to
// kAccessBytes.
template <class Visit>
void WithUnit(int64_t alignment, const Visit& visit) {
  switch (alignment) {
    case 16:
      return visit(Unit<16>{});
    case 8:
      return visit(Unit<8>{});
    case 4:
      return visit(Unit<4>{});
    case 2:
      return visit(Unit<2>{});
    default:
      return visit(Unit<1>{});
  }
}

inline constexpr int64_t kRowThreads = 256;

// Blocks of kRowThreads threads over rows of `count` accesses: x along a row, y over rows.
inline LaunchShape ShapeOfRows(int64_t rows, int64_t count) {
  unsigned along = 1;
  while (along < kRowThreads && along < count) along *= 2;
  const unsigned side_by_side = static_cast<unsigned>(kRowThreads) / along;
  return {.grid = Blocks(CeilDiv(rows, side_by_side)), .block = {along, side_by_side, 1}};
}

// The row of this thread in a launch of ShapeOfRows; may lie past the last.
__device__ inline int64_t OwnRow() { return int64_t{blockIdx.x} * blockDim.y + threadIdx.y; }

}  // namespace annulus::kernels::cuda
