// The kernel table that device.kind names.
#pragma once

#include <memory>

#include "kernels/base/kernel_table.h"
#include "runtime/config/run_config.h"

namespace annulus::runtime {

// Where a rank computes.
struct DevicePlace {
  int threads = 1;          // on cores
  int node_local_rank = 0;  // on devices, which the ranks of a node take in turn
};

// Computes on the calling thread's behalf, and for it alone. Throws ConfigError where the device is
// not built in or not there.
std::unique_ptr<kernels::KernelTable> MakeDeviceTable(const DeviceOptions& options,
                                                      const DevicePlace& place);

// Answers what a plan asks, on machines without the device too. Throws ConfigError where it is not
// built in.
std::unique_ptr<kernels::KernelTable> ModelDeviceTable(const DeviceOptions& options);

}  // namespace annulus::runtime
