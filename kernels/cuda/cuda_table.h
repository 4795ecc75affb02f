// CUDA devices as the rest of annulus sees them: a kernel table, memory, and what there is to say
// about both. No header of CUDA is needed to use it, and a build without CUDA has all of it
// (table/cuda_absent.cc), so that callers ask CudaProblem() instead of the preprocessor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "kernels/base/kernel_table.h"

namespace annulus::kernels {

// Whether CUDA is built in.
bool CudaBuiltIn();

// Why this process cannot compute on a device: no CUDA built in, no driver, no device. Empty where
// it can.
std::string CudaProblem();

struct CudaDeviceFacts {
  int index = 0;
  std::string name;        // as in "NVIDIA H100 80GB HBM3"
  std::string capability;  // as in "9.0"
  int64_t memory_bytes = 0;
};
// Those that this process sees.
std::vector<CudaDeviceFacts> CudaDevices();

struct CudaTableOptions {
  // The node's ranks take its devices in turn.
  int node_local_rank = 0;
  // Products of f32 on tensor cores, which round their factors to TF32.
  bool tf32 = false;
};

// Makes the rank's device that of the calling thread and computes on it; every call comes from that
// thread. Throws ConfigError with CudaProblem() where there is none, SystemError when CUDA fails.
std::unique_ptr<KernelTable> CreateCudaTable(const CudaTableOptions& options);

// A table for plans: answers Name(), Choices() and what is pure in shapes, without a device. The
// rest throws InternalError. Throws ConfigError where CUDA is not built in.
std::unique_ptr<KernelTable> ModelCudaTable();

// Memory of the calling thread's device, or none of it.
using CudaMemory = std::unique_ptr<std::byte[], std::function<void(std::byte*)>>;
// Aligned to 256 bytes, contents unspecified. Throws SystemError naming what there is.
CudaMemory ReserveCudaMemory(int64_t bytes);

// What the driver says of the calling thread's device: what all processes on it hold, contexts and
// libraries included.
struct CudaMemoryReading {
  int64_t used_bytes = 0;
  int64_t total_bytes = 0;
};
CudaMemoryReading ReadCudaMemory();

}  // namespace annulus::kernels
