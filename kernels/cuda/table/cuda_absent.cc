// The declarations of cuda_table.h in a build without CUDA.
#include "kernels/base/error.h"
#include "kernels/cuda/cuda_table.h"

namespace annulus::kernels {

bool CudaBuiltIn() { return false; }

std::string CudaProblem() {
  return "this annulus was built without CUDA; install the CUDA Toolkit and configure with "
         "-DANNULUS_CUDA=ON, or run with device.kind = cpu";
}

std::vector<CudaDeviceFacts> CudaDevices() { return {}; }

std::unique_ptr<KernelTable> CreateCudaTable(const CudaTableOptions&) {
  throw ConfigError(CudaProblem());
}

std::unique_ptr<KernelTable> ModelCudaTable() { throw ConfigError(CudaProblem()); }

// There is no table to call the rest with.
CudaMemory ReserveCudaMemory(int64_t) {
  Check(false, "memory of a device in a build without CUDA");
  return nullptr;
}

CudaMemoryReading ReadCudaMemory() {
  Check(false, "a reading of a device in a build without CUDA");
  return {};
}

}  // namespace annulus::kernels
