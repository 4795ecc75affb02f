// What a table holds of its device.
#pragma once

#include "kernels/cuda/attention/attention.h"
#include "kernels/cuda/data_fault.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/device_memory.h"
#include "kernels/cuda/host_copies.h"
#include "kernels/cuda/lt_products.h"
#include "kernels/cuda/reduce.h"
#include "kernels/cuda/table/cuda_kernel_table.h"

namespace annulus::kernels::cuda {

struct CudaKernelTable::Device {
  explicit Device(const CudaTableOptions& options);

  // Of the stream's work so far. Throws InternalError where a kernel saw data that it must not.
  void Wait();
  double Reduce(ConstView view, Summand summand);
  AttentionDevice attention() const { return {stream.get(), properties.capability()}; }
  DataFault* fault() const { return reinterpret_cast<DataFault*>(pinned.get()); }
  double* partial_sums() const {
    return reinterpret_cast<double*>(pinned.get() + sizeof(DataFault));
  }

  int index;
  DeviceProperties properties;
  Stream stream;
  HostCopies copies;
  LtProducts products;
  bool tf32;
  PinnedMemory pinned;  // a DataFault and kMostPartialSums doubles, which kernels write in place
};

}  // namespace annulus::kernels::cuda
