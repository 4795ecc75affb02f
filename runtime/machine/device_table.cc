#include "runtime/machine/device_table.h"

#include <algorithm>

#include "kernels/cpu/cpu_table.h"
#include "kernels/cuda/cuda_table.h"

namespace annulus::runtime {

std::unique_ptr<kernels::KernelTable> MakeDeviceTable(const DeviceOptions& options,
                                                      const DevicePlace& place) {
  if (options.kind == DeviceKind::kCpu) return std::make_unique<kernels::CpuTable>(place.threads);
  return kernels::CreateCudaTable({.node_local_rank = place.node_local_rank, .tf32 = options.tf32});
}

std::unique_ptr<kernels::KernelTable> ModelDeviceTable(const DeviceOptions& options) {
  if (options.kind == DeviceKind::kCuda) return kernels::ModelCudaTable();
  return std::make_unique<kernels::CpuTable>(std::max(options.threads, 1));
}

}  // namespace annulus::runtime
