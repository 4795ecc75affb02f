#include "tests/cuda/emulator/launch.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <numeric>

#include "tests/cuda/emulator/block.h"
#include "tests/cuda/emulator/counters.h"
#include "tests/cuda/emulator/device_model.h"
#include "tests/cuda/emulator/faults.h"
#include "tests/cuda/emulator/grid_races.h"
#include "tests/cuda/emulator/runtime_api.h"
#include "tests/cuda/emulator/streams.h"
#include "tests/cuda/emulator/text.h"

namespace annulus::emulator {
namespace {

std::mutex mutex;
std::map<const void*, int> allowed_shared_bytes;  // of kernels that asked; guarded by mutex

cudaError_t CheckShape(const cudaLaunchConfig_t& config) {
  const dim3& grid = config.gridDim;
  const dim3& threads = config.blockDim;
  const uint64_t count = uint64_t{threads.x} * threads.y * threads.z;
  const bool fits = count >= 1 && count <= kMostThreads && threads.z <= 64 && grid.x >= 1 &&
                    grid.y >= 1 && grid.z >= 1 && grid.x <= 0x7fffffffu && grid.y <= 65535 &&
                    grid.z <= 65535;
  return fits ? cudaSuccess : cudaErrorInvalidConfiguration;
}

cudaError_t CheckSharedBytes(const void* kernel, size_t bytes) {
  if (bytes <= kFreeSharedBytes) return cudaSuccess;
  const std::lock_guard lock(mutex);
  const auto allowed = allowed_shared_bytes.find(kernel);
  const bool is_allowed = allowed != allowed_shared_bytes.end() &&
                          static_cast<size_t>(std::max(allowed->second, 0)) >= bytes;
  return is_allowed ? cudaSuccess : cudaErrorInvalidValue;
}

cudaError_t CheckAttributes(const cudaLaunchConfig_t& config) {
  for (unsigned i = 0; i < config.numAttrs; ++i) {
    const cudaLaunchAttribute& attribute = config.attrs[i];
    if (attribute.id != cudaLaunchAttributeClusterDimension) continue;
    const auto& cluster = attribute.val.clusterDim;
    if (cluster.x * cluster.y * cluster.z != 1) return cudaErrorNotSupported;
  }
  return cudaSuccess;
}

// Different for every launch, whatever other host threads launch on other devices.
uint64_t NextSerial(int device) {
  return ++launches_of_device[static_cast<size_t>(device)] << 8 | static_cast<uint64_t>(device);
}

void RunGrid(const LaunchShape& shape, const KernelCall& call) {
  static thread_local Block engine;
  WatchFaultsOfThread();
  StartGridRaces(call);
  const dim3& grid = shape.grid;
  const uint64_t count = uint64_t{grid.x} * grid.y * grid.z;
  std::vector<uint32_t> order(count);
  std::iota(order.begin(), order.end(), 0u);
  if (TheOptions().shuffle_blocks) {
    Random random(TheOptions().seed ^ shape.serial);
    for (size_t i = count; i > 1; --i) {
      std::swap(order[i - 1], order[random.Below(static_cast<uint32_t>(i))]);
    }
  }
  for (const uint32_t linear : order) {
    const uint3 place{linear % grid.x, linear / grid.x % grid.y, linear / grid.x / grid.y};
    if (engine.Run(shape, place, linear, call)) continue;
    FailDevice(shape.device, cudaErrorLaunchFailure);
    return;
  }
}

}  // namespace

cudaError_t LaunchKernel(const cudaLaunchConfig_t& config, const KernelCall& call) {
  for (const cudaError_t error :
       {CheckShape(config), CheckSharedBytes(call.kernel, config.dynamicSmemBytes),
        CheckAttributes(config)}) {
    if (error != cudaSuccess) return error;
  }
  const StreamPointer stream = StreamOf(config.stream);
  if (ErrorOf(stream->device) != cudaSuccess) return ErrorOf(stream->device);
  const LaunchShape shape{config.gridDim, config.blockDim, config.dynamicSmemBytes,
                          NextSerial(stream->device), stream->device};
  Count(&Counters::launches);
  Enqueue(stream, {"a kernel", [shape, call] { RunGrid(shape, call); }, {}, {}});
  return cudaSuccess;
}

Counts TheCounts() {
  return {counters.launches, counters.blocks,   counters.switches,          counters.mma,
          counters.wgmma,    counters.ldmatrix, counters.ldmatrix_conflicts};
}

}  // namespace annulus::emulator

cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute attribute, int value) {
  namespace emulator = annulus::emulator;
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) return cudaSuccess;
  if (value < 0 || static_cast<size_t>(value) > emulator::TheDeviceModel().shared_bytes_per_block) {
    return cudaErrorInvalidValue;
  }
  const std::lock_guard lock(emulator::mutex);
  emulator::allowed_shared_bytes[kernel] = value;
  return cudaSuccess;
}
