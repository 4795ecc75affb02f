// Memory of a device and pinned memory of its host, owned. What a run needs is reserved before its
// first step; nothing is reserved after.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

namespace annulus::kernels::cuda {

struct FreeDeviceMemory {
  void operator()(std::byte* memory) const;
};
struct FreePinnedMemory {
  void operator()(std::byte* memory) const;
};
using DeviceMemory = std::unique_ptr<std::byte[], FreeDeviceMemory>;
using PinnedMemory = std::unique_ptr<std::byte[], FreePinnedMemory>;

// `bytes` of the current device, aligned to 256, contents unspecified; `purpose` is named where
// there is not enough, with what the device has left. Throws SystemError.
DeviceMemory ReserveDeviceMemory(int64_t bytes, std::string_view purpose);

// `bytes` of host memory that copies to and from devices need no staging for. Throws SystemError.
PinnedMemory ReservePinnedMemory(int64_t bytes, std::string_view purpose);

}  // namespace annulus::kernels::cuda
