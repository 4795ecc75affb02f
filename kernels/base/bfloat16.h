// The upper half of an f32: 8 bits of exponent, 7 of mantissa.
//
// Plain data and conversions only; arithmetic is done in f32 everywhere.
#pragma once

#include <bit>
#include <cstdint>

#include "kernels/base/dtype.h"

namespace annulus::kernels {

struct BFloat16 {
  uint16_t bits = 0;
};

template <>
struct DTypeOf<BFloat16> {
  static constexpr DType value = DType::kBF16;
};

// Exact.
constexpr float ToFloat(BFloat16 x) {
  return std::bit_cast<float>(static_cast<uint32_t>(x.bits) << 16);
}

// To nearest, ties to even; what is beyond the largest bf16 becomes infinite, a NaN stays one.
constexpr BFloat16 ToBFloat16(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  constexpr uint32_t kQuiet = 0x0040;
  if (x != x) return {static_cast<uint16_t>((bits >> 16) | kQuiet)};
  return {static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16)};
}

}  // namespace annulus::kernels
