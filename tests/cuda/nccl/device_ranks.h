// Ranks as threads with an emulated device each, in a group over NCCL.
#pragma once

#include <chrono>
#include <functional>

#include "kernels/cuda/device.h"
#include "kernels/cuda/host_copies.h"
#include "parallel/nccl_communicator.h"
#include "tests/parallel/communicator_suite.h"

namespace annulus::parallel {

// Tensors in the memory of the calling thread's device, copied on `compute`.
class DeviceTensors final : public TensorMemory {
 public:
  explicit DeviceTensors(const kernels::cuda::Stream& compute) : compute_(compute) {}

  void* Allocate(int64_t bytes) override;
  void Free(void* tensor) override;
  void Upload(const void* from, void* to, int64_t bytes) override;
  void Download(const void* from, void* to, int64_t bytes) override;

 private:
  const kernels::cuda::Stream& compute_;
  kernels::cuda::HostCopies copies_;
};

// What a rank has on its device.
struct DeviceRank {
  Communicator& host;
  Communicator& world;
  const kernels::cuda::Stream& compute;
  DeviceTensors& tensors;
};

struct DeviceRanks {
  int ranks = 1;
  std::chrono::steady_clock::duration deadline = std::chrono::seconds(60);
  int64_t staging_bytes = int64_t{1} << 20;
};

// Runs `body` once per rank, as RunRanks() does.
void RunDeviceRanks(const DeviceRanks& options, const std::function<void(const DeviceRank&)>& body);

}  // namespace annulus::parallel
