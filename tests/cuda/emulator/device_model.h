// What devices of a compute capability have.
#pragma once

#include <cstddef>

namespace annulus::emulator {

inline constexpr size_t kFreeSharedBytes = 48 * 1024;  // that a block has without asking
inline constexpr int kMostThreads = 1024;              // of a block

struct DeviceModel {
  int capability;
  size_t shared_bytes_per_block;  // CUDA C++ Programming Guide, technical specifications
  int multiprocessors;
};

// Of Options::capability.
const DeviceModel& TheDeviceModel();

}  // namespace annulus::emulator
