// CUDA devices as the rest of annulus sees them: a kernel table, and what there is to say about it.
// No header of CUDA is needed to use it, and a build without CUDA has all of it
// (table/cuda_absent.cc), so that callers ask CudaProblem() instead of the preprocessor.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "kernels/base/kernel_table.h"

struct CUstream_st;  // cudaStream_t, without the headers of CUDA

namespace annulus::kernels {

// The runtime that is built in, as in "CUDA 13.0"; empty where none is.
std::string CudaVersion();

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

// The calling thread's device, told apart from all others of a job, as in
// "node-7, GPU 0000:1b:00.0". Requires one. Throws SystemError when CUDA fails.
std::string CudaDevicePlace();

struct CudaTableOptions {
  // The node's ranks take its devices in turn.
  int node_local_rank = 0;
  // Products of f32 on tensor cores, which round their factors to TF32.
  bool tf32 = false;
};

// Makes the rank's device that of the calling thread and computes on it; every call comes from that
// thread. Throws ConfigError with CudaProblem() where there is none, SystemError when CUDA fails.
std::unique_ptr<KernelTable> CreateCudaTable(const CudaTableOptions& options);

// The stream that a table made by CreateCudaTable() puts its work on; null of any other table.
CUstream_st* CudaStreamOf(const KernelTable& table);

// A table for plans: answers Name(), Choices() and what is pure in shapes, without a device. The
// rest throws InternalError. Throws ConfigError where CUDA is not built in.
std::unique_ptr<KernelTable> ModelCudaTable();

}  // namespace annulus::kernels
