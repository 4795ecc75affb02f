// Elements of matrix operands, from the registers or the memory that hold them.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

#include "tests/cuda/emulator/instructions.h"

namespace annulus::emulator {

inline float FromBf16(uint16_t bits) { return std::bit_cast<float>(uint32_t{bits} << 16); }

inline float FromF16(uint16_t bits) {
  const int exponent = bits >> 10 & 31, mantissa = bits & 1023;
  const float sign = (bits & 0x8000) != 0 ? -1.0f : 1.0f;
  if (exponent == 31) return mantissa != 0 ? NAN : sign * INFINITY;
  if (exponent == 0) return sign * std::ldexp(static_cast<float>(mantissa), -24);
  return sign * std::ldexp(static_cast<float>(mantissa + 1024), exponent - 25);
}

// The tensor cores read the upper 19 bits.
inline float FromTf32(uint32_t bits) { return std::bit_cast<float>(bits & 0xffffe000u); }

// Element e of a register.
inline float ElementOf(Fragments fragments, uint32_t bits, int e) {
  if (fragments == Fragments::kTf32) return FromTf32(bits);
  const auto half = static_cast<uint16_t>(bits >> (16 * e));
  return fragments == Fragments::kBf16 ? FromBf16(half) : FromF16(half);
}

}  // namespace annulus::emulator
