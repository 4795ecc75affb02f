// The declarations of cuda_table.h in a build without CUDA.
#include "kernels/base/error.h"
#include "kernels/cuda/cuda_table.h"

namespace annulus::kernels {

std::string CudaVersion() { return {}; }

std::string CudaProblem() {
  return "this annulus was built without CUDA; install the CUDA Toolkit and configure with "
         "-DANNULUS_CUDA=ON, or run with device.kind = cpu";
}

std::vector<CudaDeviceFacts> CudaDevices() { return {}; }

std::string CudaDevicePlace() { throw ConfigError(CudaProblem()); }

std::unique_ptr<KernelTable> CreateCudaTable(const CudaTableOptions&) {
  throw ConfigError(CudaProblem());
}

CUstream_st* CudaStreamOf(const KernelTable&) { return nullptr; }

std::unique_ptr<KernelTable> ModelCudaTable() { throw ConfigError(CudaProblem()); }

}  // namespace annulus::kernels
