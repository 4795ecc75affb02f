// What cuTensorMapEncodeTiled packs into the opaque bytes of a CUtensorMap.
#pragma once

#include <array>
#include <cstdint>

#include "tests/cuda/emulator/include/cuda.h"

namespace annulus::emulator {

inline constexpr int kMostDims = 5;

// Which bits of a shared address are permuted, by CUtensorMapSwizzle: bits 4.. by exclusive or with
// bits 7.. .
constexpr uint32_t Swizzled(uint32_t address, CUtensorMapSwizzle swizzle) {
  const uint32_t mask = ((1u << swizzle) - 1) << 4;
  return address ^ ((address >> 3) & mask);
}

struct TensorMap {
  static constexpr uint32_t kMagic = 0x74616d70;
  uint32_t magic = kMagic;
  uint8_t rank = 0, element_bytes = 0, swizzle = 0;
  const void* data = nullptr;
  std::array<uint32_t, kMostDims> dims{};         // elements, the innermost first
  std::array<uint64_t, kMostDims - 1> strides{};  // bytes, of all but the innermost
  std::array<uint16_t, kMostDims> box{};
};
static_assert(sizeof(TensorMap) <= sizeof(CUtensorMap));

}  // namespace annulus::emulator
