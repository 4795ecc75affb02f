// The trait of AVX-512 (F and DQ): a strip's 64 queries are the lanes of four registers, 6 x 4
// accumulators.
#pragma once

#include <immintrin.h>

#include "kernels/cpu/attention/tile_exp2.inl.h"

namespace annulus::kernels::cpu {
namespace {

struct Avx512 {
  using Vec = __m512;
  static constexpr int kWidth = 16;
  static constexpr int kVectors = 4;
  static constexpr int kPerWord = 1;
  static constexpr int kDimMultiple = 1;
  static constexpr int kKeyMultiple = 1;

  static ANNULUS_INLINE Vec Zero() { return _mm512_setzero_ps(); }
  static ANNULUS_INLINE Vec Set(float x) { return _mm512_set1_ps(x); }
  static ANNULUS_INLINE Vec Load(const float* from) { return _mm512_loadu_ps(from); }
  static ANNULUS_INLINE Vec Load(const uint16_t* bf16) {
    const __m256i halves = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(bf16));
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
  }
  static ANNULUS_INLINE void Store(float* to, Vec v) { _mm512_storeu_ps(to, v); }
  static ANNULUS_INLINE Vec Add(Vec a, Vec b) { return _mm512_add_ps(a, b); }
  static ANNULUS_INLINE Vec Sub(Vec a, Vec b) { return _mm512_sub_ps(a, b); }
  static ANNULUS_INLINE Vec Mul(Vec a, Vec b) { return _mm512_mul_ps(a, b); }
  static ANNULUS_INLINE Vec Max(Vec a, Vec b) { return _mm512_max_ps(a, b); }
  static ANNULUS_INLINE Vec Fma(Vec a, Vec b, Vec c) { return _mm512_fmadd_ps(a, b, c); }
  static ANNULUS_INLINE Vec Multiply(Vec a, Vec b, Vec c) { return Fma(a, b, c); }
  static ANNULUS_INLINE Vec Select(uint64_t bits, Vec a, Vec b) {
    return _mm512_mask_blend_ps(static_cast<__mmask16>(bits), b, a);
  }

  // Rows become columns.
  static ANNULUS_INLINE void Transpose(Vec (&r)[16]) {
    Vec t[16];
    ANNULUS_UNROLL_ALL
    for (int i = 0; i < 16; i += 2) {
      t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
      t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
    }
    // r[4 i + j]: column j of every quarter, of rows 4 i to 4 i + 3.
    ANNULUS_UNROLL_ALL
    for (int i = 0; i < 16; i += 4) {
      r[i] = Halves<0x44>(t[i], t[i + 2]);
      r[i + 1] = Halves<0xee>(t[i], t[i + 2]);
      r[i + 2] = Halves<0x44>(t[i + 1], t[i + 3]);
      r[i + 3] = Halves<0xee>(t[i + 1], t[i + 3]);
    }
    ANNULUS_UNROLL_ALL
    for (int j = 0; j < 4; ++j) {
      t[j] = _mm512_shuffle_f32x4(r[j], r[4 + j], 0x88);
      t[4 + j] = _mm512_shuffle_f32x4(r[j], r[4 + j], 0xdd);
      t[8 + j] = _mm512_shuffle_f32x4(r[8 + j], r[12 + j], 0x88);
      t[12 + j] = _mm512_shuffle_f32x4(r[8 + j], r[12 + j], 0xdd);
    }
    ANNULUS_UNROLL_ALL
    for (int j = 0; j < 4; ++j) {
      r[j] = _mm512_shuffle_f32x4(t[j], t[8 + j], 0x88);
      r[4 + j] = _mm512_shuffle_f32x4(t[4 + j], t[12 + j], 0x88);
      r[8 + j] = _mm512_shuffle_f32x4(t[j], t[8 + j], 0xdd);
      r[12 + j] = _mm512_shuffle_f32x4(t[4 + j], t[12 + j], 0xdd);
    }
  }

  // 2^x: that of x - floor(x), scaled by 2^floor(x) in one instruction.
  static ANNULUS_INLINE Vec Exp2(Vec x) {
    constexpr int kFloor = 0x09;  // round down, raise nothing
    return _mm512_scalef_ps(Exp2OfFraction<Avx512>(_mm512_reduce_ps(x, kFloor)), x);
  }

 private:
  // Of every quarter, the lower (0x44) or upper (0xee) halves of a and b.
  template <int kControl>
  static ANNULUS_INLINE Vec Halves(Vec a, Vec b) {
    return _mm512_shuffle_ps(a, b, kControl);
  }
};

}  // namespace
}  // namespace annulus::kernels::cpu
