#include "kernels/cuda/cuda_table.h"

#include <array>

#include "kernels/base/error.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/table/cuda_kernel_table.h"

namespace annulus::kernels {

std::string CudaVersion() {
  int version = 0;
  cuda::CheckCuda(cudaRuntimeGetVersion(&version), "cudaRuntimeGetVersion");
  return fmt::format("CUDA {}.{}", version / 1000, version / 10 % 100);
}

std::string CudaProblem() {
  const std::string why = cuda::WhyNoDevice();
  if (why.empty()) return why;
  return fmt::format(
      "device.kind = cuda, but CUDA has no device to compute on: {}; run with "
      "device.kind = cpu, or on a machine with a GPU and its driver",
      why);
}

std::vector<CudaDeviceFacts> CudaDevices() {
  std::vector<CudaDeviceFacts> devices;
  for (int i = 0; i < cuda::DeviceCount(); ++i) {
    const cuda::DeviceProperties device = cuda::PropertiesOf(i);
    devices.push_back({.index = i,
                       .name = device.name,
                       .capability = fmt::format("{}.{}", device.major, device.minor),
                       .memory_bytes = device.memory_bytes});
  }
  return devices;
}

std::string CudaDevicePlace() {
  std::array<char, 32> bus{};
  cuda::CheckCuda(
      cudaDeviceGetPCIBusId(bus.data(), static_cast<int>(bus.size()), cuda::CurrentDevice()),
      "cudaDeviceGetPCIBusId");
  const std::string device = cuda::DescribeCurrentDevice();
  return fmt::format("{}, GPU {}", device.substr(device.find(", ") + 2), bus.data());
}

std::unique_ptr<KernelTable> CreateCudaTable(const CudaTableOptions& options) {
  const std::string problem = CudaProblem();
  if (!problem.empty()) throw ConfigError(problem);
  cuda::UseDevice(cuda::DeviceOfRank(options.node_local_rank, cuda::DeviceCount()));
  return std::make_unique<cuda::CudaKernelTable>(options);
}

CUstream_st* CudaStreamOf(const KernelTable& table) {
  const auto* cuda = dynamic_cast<const cuda::CudaKernelTable*>(&table);
  return cuda == nullptr ? nullptr : cuda->stream();
}

std::unique_ptr<KernelTable> ModelCudaTable() { return std::make_unique<cuda::CudaKernelTable>(); }

}  // namespace annulus::kernels
