#include "tests/cuda/emulator/elements.h"

namespace annulus::emulator {
namespace {

// Nearest, ties to even.
uint32_t ToBf16(float x) {
  const auto bits = std::bit_cast<uint32_t>(x);
  if (std::isnan(x)) return 0x7fff;
  return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

}  // namespace

uint32_t PackBf16(float low, float high) { return ToBf16(low) | ToBf16(high) << 16; }

// Nearest, ties away from 0.
uint32_t ToTf32(float x) {
  const auto bits = std::bit_cast<uint32_t>(x);
  if (std::isnan(x)) return 0x7fffe000;
  return std::isinf(x) ? bits : (bits + 0x1000) & 0xffffe000u;
}

}  // namespace annulus::emulator
