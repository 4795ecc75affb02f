// Flat elementwise kernels: one body for whole accesses, single elements and the tail.
#pragma once

#include <cstdint>
#include <string_view>

#include "kernels/cuda/element.h"

namespace annulus::kernels::cuda {

inline constexpr int kMapThreads = 256;

// Calls op.At<kWidth>(i) for i = 0, kWidth, 2 kWidth, ... and op.At<1>(i) for what is left of
// [0, count).
template <int kWidth, class Op>
__global__ void MapKernel(const Op op, const int64_t count) {
  const int64_t thread = int64_t{blockIdx.x} * kMapThreads + threadIdx.x;
  const int64_t whole = count / kWidth;
  if (thread < whole) op.template At<kWidth>(thread * kWidth);
  if constexpr (kWidth > 1) {
    const int64_t rest = whole * kWidth + thread;
    if (rest < count) op.template At<1>(rest);
  }
}

// op.At<W>(i) computes elements [i, i + W), each from the same elements of its operands; kWidth at
// a time where they are `aligned`.
template <int kWidth, class Op>
void Map(const Op& op, int64_t count, bool aligned, cudaStream_t stream, std::string_view name) {
  const int width = aligned ? kWidth : 1;
  // Where there is less than a whole access, one block takes the tail.
  const LaunchShape shape{.grid = Blocks(CeilDiv(count, int64_t{kMapThreads} * width)),
                          .block = {kMapThreads, 1, 1}};
  if (aligned) {
    Launch(MapKernel<kWidth, Op>, shape, stream, name, op, count);
  } else {
    Launch(MapKernel<1, Op>, shape, stream, name, op, count);
  }
}

}  // namespace annulus::kernels::cuda
