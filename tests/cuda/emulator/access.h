// Accesses of kernels to memory, one by one: every one where the kernel is compiled for the race
// detector, else those of emulated instructions.
#pragma once

#include <cstddef>

#include "tests/cuda/emulator/race_detector.h"
#include "tests/cuda/emulator/report.h"

namespace annulus::emulator {

struct MemoryAccess {
  const void* p = nullptr;
  size_t bytes = 0;
  Access access = Access::kRead;
  Place at = nullptr;
  int thread = -1;  // the running one
  bool atomic = false;
};

// Tells of what is outside of an allocation or of the block's shared memory, and of races. False if
// it is outside.
bool CheckAccess(const MemoryAccess& access);

}  // namespace annulus::emulator
