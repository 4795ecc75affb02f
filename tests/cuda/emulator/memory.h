// Memory of devices, and pinned memory of the host.
//
// A device's memory is pages of its own that the process may touch only while work of that device
// runs: a kernel that leaves its allocation and a host that touches device memory are caught by the
// page fault (faults.h). What lies between an allocation's end and the end of its page is checked
// after every kernel; AddressSanitizer sees it at once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "tests/cuda/emulator/runtime_types.h"

namespace annulus::emulator {

// Whether the program is linked with AddressSanitizer.
bool AddressSanitized();
// Whether that would call an access wrong.
bool IsPoisoned(const void* p, size_t bytes);

struct Allocation {
  const std::byte* begin = nullptr;
  size_t bytes = 0;
  int device = -1;

  bool Holds(const void* p, size_t size) const {
    const auto* byte = static_cast<const std::byte*>(p);
    return byte >= begin && byte + size <= begin + bytes;
  }
};

// Filled with 0xff, NaN in every type. cudaErrorMemoryAllocation when the device is full.
cudaError_t AllocateOnDevice(int device, size_t bytes, void** memory);
cudaError_t FreeOnDevice(void* memory);
void DeviceMemoryInfo(int device, size_t* free, size_t* total);

cudaError_t AllocatePinned(size_t bytes, void** memory);
cudaError_t FreePinned(void* memory);

// The device whose memory is at p, allocated or not; -1 for the host's.
int DeviceOf(const void* p);
// The allocation on a device, or the pinned one, that p is in.
std::optional<Allocation> FindOnDevice(const void* p);
bool IsPinned(const void* p, size_t bytes);

// Tells of writes behind the ends of the device's allocations, by `work`.
void CheckEnds(int device, const char* work);

// While it lives, this process may touch the memory of a device.
class DeviceMemoryOpen {
 public:
  explicit DeviceMemoryOpen(int device);
  ~DeviceMemoryOpen();
  DeviceMemoryOpen(const DeviceMemoryOpen&) = delete;
  DeviceMemoryOpen& operator=(const DeviceMemoryOpen&) = delete;

 private:
  int device_;
};

// For good: after the host's access to an allocation was told of.
void OpenForHost(const void* p);

}  // namespace annulus::emulator
