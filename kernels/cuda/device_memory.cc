#include "kernels/cuda/device_memory.h"

#include "kernels/base/error.h"
#include "kernels/cuda/device.h"

namespace annulus::kernels::cuda {

// Destructors must not throw; what failed was, or will be, reported by a call that may.
void FreeDeviceMemory::operator()(std::byte* memory) const { (void)cudaFree(memory); }
void FreePinnedMemory::operator()(std::byte* memory) const { (void)cudaFreeHost(memory); }

DeviceMemory ReserveDeviceMemory(int64_t bytes, std::string_view purpose) {
  if (bytes == 0) return nullptr;
  void* memory = nullptr;
  const cudaError_t status = cudaMalloc(&memory, static_cast<size_t>(bytes));
  if (status != cudaSuccess) {
    const DeviceMemoryReading device = ReadDeviceMemory();
    CheckCuda(status, fmt::format("cudaMalloc of {} bytes for {}, with {} of {} bytes free,", bytes,
                                  purpose, device.free_bytes, device.total_bytes));
  }
  return DeviceMemory(static_cast<std::byte*>(memory));
}

PinnedMemory ReservePinnedMemory(int64_t bytes, std::string_view purpose) {
  if (bytes == 0) return nullptr;
  void* memory = nullptr;
  CheckCuda(cudaHostAlloc(&memory, static_cast<size_t>(bytes), cudaHostAllocPortable),
            fmt::format("cudaHostAlloc of {} bytes for {}", bytes, purpose));
  return PinnedMemory(static_cast<std::byte*>(memory));
}

}  // namespace annulus::kernels::cuda
