// The trait of AVX-512 with bf16 pairs: the kernels of f32 over words of two elements.
#pragma once

#include "kernels/cpu/attention/tile_avx512.inl.h"

namespace annulus::kernels::cpu {
namespace {

struct Avx512Bf16 : Avx512 {
  static constexpr int kPerWord = 2;
  static constexpr int kDimMultiple = 2;
  static constexpr int kKeyMultiple = 2;

  static ANNULUS_INLINE Vec Multiply(Vec a, Vec b, Vec c) {
    return _mm512_dpbf16_ps(c, reinterpret_cast<__m512bh>(a), reinterpret_cast<__m512bh>(b));
  }
  // Word i is lane i of `low` and lane i of `high`, rounded.
  static ANNULUS_INLINE void StorePairs(float* words, Vec low, Vec high) {
    alignas(64) static constexpr uint16_t kInterleaved[32] = {
        0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
        8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    const __m512i halves = reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high, low));
    _mm512_storeu_si512(words, _mm512_permutexvar_epi16(_mm512_load_si512(kInterleaved), halves));
  }
  // The lanes of `low`, then those of `high`, rounded.
  static ANNULUS_INLINE void StoreNarrow(float* words, Vec low, Vec high) {
    _mm512_storeu_si512(words, reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high, low)));
  }
};

}  // namespace
}  // namespace annulus::kernels::cpu
