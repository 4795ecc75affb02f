// Grid: as many blocks of kThreads threads as there are elements for, at most kMostBlocks; a thread
// takes elements a grid apart, all ranks of one element in turn. No shared memory.
#include <algorithm>

#include "kernels/cuda/launch.h"
#include "parallel/nccl_sum.h"

namespace annulus::parallel {
namespace {

constexpr int64_t kThreads = 256;
// Enough to keep a device's memory busy; all that is summed at once lies in staging memory.
constexpr int64_t kMostBlocks = 1024;

__global__ void SumInRankOrderKernel(const NcclSum sum) {
  const int64_t stride = int64_t{gridDim.x} * blockDim.x;
  for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < sum.count; i += stride) {
    double total = 0;
    for (int r = 0; r < sum.size; ++r) {
      const float* row =
          r == sum.rank ? sum.own : sum.staged + (r < sum.rank ? r : r - 1) * sum.stride;
      total += static_cast<double>(row[i]);
    }
    sum.own[i] = static_cast<float>(total);
  }
}

}  // namespace

void EnqueueSumInRankOrder(const NcclSum& sum, cudaStream_t stream) {
  const int64_t blocks = std::min(kMostBlocks, (sum.count + kThreads - 1) / kThreads);
  kernels::cuda::Launch(SumInRankOrderKernel,
                        {.grid = {static_cast<unsigned>(blocks), 1, 1},
                         .block = {static_cast<unsigned>(kThreads), 1, 1}},
                        stream, "sum of an all-reduce", sum);
}

}  // namespace annulus::parallel
