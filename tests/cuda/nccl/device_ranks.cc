#include "tests/cuda/nccl/device_ranks.h"

#include "kernels/cuda/device_memory.h"
#include "parallel/local_communicator.h"

namespace annulus::parallel {

void* DeviceTensors::Allocate(int64_t bytes) {
  return kernels::cuda::ReserveDeviceMemory(bytes, "a test").release();
}

// cudaFree waits for the device.
void DeviceTensors::Free(void* tensor) {
  try {
    compute_.Wait();
  } catch (...) {
    // The rank has failed, and the test knows.
  }
  kernels::cuda::FreeDeviceMemory()(static_cast<std::byte*>(tensor));
}

void DeviceTensors::Upload(const void* from, void* to, int64_t bytes) {
  copies_.ToDevice(from, to, bytes, compute_.get());
}

void DeviceTensors::Download(const void* from, void* to, int64_t bytes) {
  copies_.ToHost(from, to, bytes, compute_.get());
}

void RunDeviceRanks(const DeviceRanks& options,
                    const std::function<void(const DeviceRank&)>& body) {
  RunRanks(
      options.ranks,
      [&](Communicator& host) {
        kernels::cuda::UseDevice(host.rank());
        const kernels::cuda::Stream compute;
        const auto world = CreateNcclWorld(host, {.compute = compute.get(),
                                                  .deadline = options.deadline,
                                                  .staging_bytes = options.staging_bytes});
        DeviceTensors tensors(compute);
        body({host, *world, compute, tensors});
      },
      options.deadline);
}

}  // namespace annulus::parallel
