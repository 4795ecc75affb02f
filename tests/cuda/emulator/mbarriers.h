// mbarriers as other instructions use them.
#pragma once

#include <cstdint>

#include "tests/cuda/emulator/report.h"

namespace annulus::emulator {

// Tells if there is no usable mbarrier, and gives the block up.
void CheckMbarrier(uint32_t barrier, const char* what, Place at);

// A copy has brought so many of the bytes that the barrier waits for.
void CompleteBytes(uint32_t barrier, uint32_t bytes);

// Gives the block up if the device has no such instruction.
void RequireCapability(int capability, const char* instruction, Place at);

}  // namespace annulus::emulator
