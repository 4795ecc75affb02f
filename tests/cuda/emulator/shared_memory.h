// A block's dynamic shared memory and its addresses.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tests/cuda/emulator/report.h"

namespace annulus::emulator {

// Shared addresses start here, as on sm_90, whose first KiB is the system's.
inline constexpr uint32_t kSharedWindow = 0x400;
inline constexpr size_t kSharedAlignment = 1024;

// Starts as NaN. AddressSanitizer sees its exact end; without it what lies behind is checked once
// the block is done.
class SharedMemory {
 public:
  SharedMemory() = default;
  ~SharedMemory();
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;

  void Reset(size_t bytes);
  // Tells of writes behind its end.
  void CheckEnd() const;

  std::byte* data() const { return data_; }
  size_t bytes() const { return bytes_; }
  bool Contains(const void* p) const { return p >= data_ && p < data_ + bytes_ + slack_; }
  bool Holds(uint32_t address, size_t bytes) const {
    return address >= kSharedWindow && address - kSharedWindow + bytes <= bytes_;
  }

  uint32_t AddressOf(const void* p, Place at) const;
  // Memory at `address`, which `what` accesses; tells if it is outside, and gives memory that is
  // nobody's then.
  std::byte* At(uint32_t address, size_t bytes, const char* what, Place at) const;

 private:
  std::byte* data_ = nullptr;
  size_t bytes_ = 0, slack_ = 0, reserved_ = 0;
};

}  // namespace annulus::emulator
