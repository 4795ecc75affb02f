// Two products of a warpgroup, which run one into the other unless an accumulator is written
// between them: what the build must refuse.
#include "kernels/cuda/ptx_wgmma.h"

namespace annulus::kernels::cuda {

constexpr bool kWrittenBetween = ANNULUS_WRITTEN_BETWEEN;

__global__ void __launch_bounds__(128) ProductsKernel(uint64_t a, uint64_t b, float* x) {
  float d[64] = {};
  ptx::WgmmaFence();
  ptx::WgmmaSharedShared<128, ptx::Major::kK>(d, a, b, true);
  if constexpr (kWrittenBetween) d[0] = x[0];
  ptx::WgmmaSharedShared<128, ptx::Major::kK>(d, a + 2, b + 2, true);
  ptx::WgmmaCommit();
  ptx::WgmmaWait<0>(d);
#pragma unroll
  for (int i = 0; i < 64; ++i) x[i * blockDim.x + threadIdx.x] = d[i];
}

}  // namespace annulus::kernels::cuda
