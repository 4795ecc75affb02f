// Launches of kernels, every one checked, in a spelling that a plain C++ compiler reads as well.
#pragma once

#include <cstdint>
#include <source_location>
#include <string_view>
#include <utility>

#include "kernels/cuda/device.h"

namespace annulus::kernels::cuda {

struct LaunchShape {
  dim3 grid{1, 1, 1};        // blocks; in x up to 2^31 - 1, in y and z up to 65535
  dim3 block{1, 1, 1};       // threads
  int64_t shared_bytes = 0;  // dynamic shared memory of a block
  unsigned cluster = 1;      // blocks, in x, that share their memory; needs sm_90
};

// What a block may have without asking.
inline constexpr int64_t kFreeSharedBytes = 48 * 1024;

// Puts kernel(args...) on `stream` as `name`, which an error is reported under. Arguments convert
// as in a call. A launch of no blocks is none. Throws SystemError where it is refused; what goes
// wrong while it runs is reported by a later call.
template <class... Parameters, class... Args>
void Launch(void (*kernel)(Parameters...), const LaunchShape& shape, cudaStream_t stream,
            std::string_view name, Args&&... args) {
  if (shape.grid.x == 0 || shape.grid.y == 0 || shape.grid.z == 0) return;
  if (shape.shared_bytes > kFreeSharedBytes) {
    CheckCuda(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                   static_cast<int>(shape.shared_bytes)),
              name);
  }
  cudaLaunchConfig_t config{};
  config.gridDim = shape.grid;
  config.blockDim = shape.block;
  config.dynamicSmemBytes = static_cast<size_t>(shape.shared_bytes);
  config.stream = stream;
  cudaLaunchAttribute cluster{};
  if (shape.cluster > 1) {
    cluster.id = cudaLaunchAttributeClusterDimension;
    cluster.val.clusterDim.x = shape.cluster;
    cluster.val.clusterDim.y = 1;
    cluster.val.clusterDim.z = 1;
    config.attrs = &cluster;
    config.numAttrs = 1;
  }
  CheckCuda(cudaLaunchKernelEx(&config, kernel, std::forward<Args>(args)...), name);
}

}  // namespace annulus::kernels::cuda
