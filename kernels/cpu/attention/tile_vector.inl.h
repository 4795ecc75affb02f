// Traits of an instruction set by the vector extension of GCC and Clang: plain C++ that any CPU
// can run, and the base that sets without their own scaling and rounding instructions build on.
#pragma once

#include <cstdint>

#include "kernels/cpu/attention/tile_exp2.inl.h"
#include "kernels/cpu/attention/tile_multiply.inl.h"

namespace annulus::kernels::cpu {
namespace {

template <int kFloats>
struct VectorTypes;
template <>
struct VectorTypes<4> {
  typedef float Vec __attribute__((vector_size(16)));
  typedef uint32_t Bits __attribute__((vector_size(16)));
  typedef uint16_t Halves __attribute__((vector_size(8)));
  static constexpr Bits kLaneBit = {1, 2, 4, 8};
};
template <>
struct VectorTypes<8> {
  typedef float Vec __attribute__((vector_size(32)));
  typedef uint32_t Bits __attribute__((vector_size(32)));
  typedef uint16_t Halves __attribute__((vector_size(16)));
  static constexpr Bits kLaneBit = {1, 2, 4, 8, 16, 32, 64, 128};
};

template <int kFloats>
struct VectorIsa {
  using Vec = typename VectorTypes<kFloats>::Vec;
  using Bits = typename VectorTypes<kFloats>::Bits;
  static constexpr int kWidth = kFloats;
  static constexpr int kVectors = 2;  // 6 x 2 accumulators fit 16 registers
  static constexpr int kPerWord = 1;
  static constexpr int kDimMultiple = 1;
  static constexpr int kKeyMultiple = 1;

  static ANNULUS_INLINE Vec Zero() { return Vec{}; }
  static ANNULUS_INLINE Vec Set(float x) { return x - Vec{}; }
  static ANNULUS_INLINE Vec Load(const float* from) {
    Vec v;
    __builtin_memcpy(&v, from, sizeof(v));
    return v;
  }
  static ANNULUS_INLINE Vec Load(const uint16_t* bf16) {
    typename VectorTypes<kFloats>::Halves halves;
    __builtin_memcpy(&halves, bf16, sizeof(halves));
    return reinterpret_cast<Vec>(__builtin_convertvector(halves, Bits) << 16);
  }
  static ANNULUS_INLINE void Store(float* to, Vec v) { __builtin_memcpy(to, &v, sizeof(v)); }
  static ANNULUS_INLINE Vec Add(Vec a, Vec b) { return a + b; }
  static ANNULUS_INLINE Vec Sub(Vec a, Vec b) { return a - b; }
  static ANNULUS_INLINE Vec Mul(Vec a, Vec b) { return a * b; }
  static ANNULUS_INLINE Vec Max(Vec a, Vec b) { return a > b ? a : b; }
  static ANNULUS_INLINE Vec Fma(Vec a, Vec b, Vec c) { return a * b + c; }
  static ANNULUS_INLINE Vec Multiply(Vec a, Vec b, Vec c) { return Fma(a, b, c); }
  static ANNULUS_INLINE Vec Select(uint64_t bits, Vec a, Vec b) {
    const Bits lanes = static_cast<uint32_t>(bits & 0xff) & VectorTypes<kFloats>::kLaneBit;
    return lanes != 0 ? a : b;
  }

  // 2^x, at most 2^128 and 0 below 2^-126. Adding 1.5 * 2^23 to x - 0.5 rounds x down, ties to
  // even, and leaves the integer in the low bits, whence it is shifted to the exponent.
  template <class Isa>
  static ANNULUS_INLINE Vec RoundingExp2(Vec x) {
    constexpr float kLargest = 0x1.fffffep6f;
    x = kLargest < x ? Set(kLargest) : x;
    const Vec shifted = (x - 0.5f) + 12582912.0f;
    const Vec p = Exp2OfFraction<Isa>(x - (shifted - 12582912.0f));
    const Bits scaled = reinterpret_cast<Bits>(p) + (reinterpret_cast<Bits>(shifted) << 23);
    return reinterpret_cast<Vec>(scaled & ~reinterpret_cast<Bits>(x < -126.0f));
  }
};

}  // namespace
}  // namespace annulus::kernels::cpu
