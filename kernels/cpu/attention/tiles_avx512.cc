// Fused attention on AVX-512 (F and DQ): a strip's 64 queries are the lanes of four registers,
// 6 x 4 accumulators. Compiled with -mavx512f -mavx512dq.
#include <immintrin.h>

#include "kernels/cpu/attention/tile_exp2.inl.h"
#include "kernels/cpu/attention/tile_kernels.inl.h"

namespace annulus::kernels::cpu {
namespace {

struct Avx512 {
  using Vec = __m512;
  static constexpr int kWidth = 16;
  static constexpr int kVectors = 4;

  static ANNULUS_INLINE Vec Zero() { return _mm512_setzero_ps(); }
  static ANNULUS_INLINE Vec Set(float x) { return _mm512_set1_ps(x); }
  static ANNULUS_INLINE Vec Load(const float* from) { return _mm512_loadu_ps(from); }
  static ANNULUS_INLINE void Store(float* to, Vec v) { _mm512_storeu_ps(to, v); }
  static ANNULUS_INLINE Vec Add(Vec a, Vec b) { return _mm512_add_ps(a, b); }
  static ANNULUS_INLINE Vec Sub(Vec a, Vec b) { return _mm512_sub_ps(a, b); }
  static ANNULUS_INLINE Vec Mul(Vec a, Vec b) { return _mm512_mul_ps(a, b); }
  static ANNULUS_INLINE Vec Max(Vec a, Vec b) { return _mm512_max_ps(a, b); }
  static ANNULUS_INLINE Vec Fma(Vec a, Vec b, Vec c) { return _mm512_fmadd_ps(a, b, c); }
  static ANNULUS_INLINE Vec Select(uint64_t bits, Vec a, Vec b) {
    return _mm512_mask_blend_ps(static_cast<__mmask16>(bits), b, a);
  }
  // x, or 0 where x is -inf.
  static ANNULUS_INLINE Vec Finite(Vec x) {
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, Set(-__builtin_inff()), _CMP_NEQ_OQ), x);
  }

  // 2^x: that of x - floor(x), scaled by 2^floor(x) in one instruction.
  static ANNULUS_INLINE Vec Exp2(Vec x) {
    constexpr int kFloor = 0x09;  // round down, raise nothing
    return _mm512_scalef_ps(Exp2OfFraction<Avx512>(_mm512_reduce_ps(x, kFloor)), x);
  }
};

}  // namespace

constinit const TileKernels kAvx512Tiles = MakeTileKernels<Avx512>("avx512");

}  // namespace annulus::kernels::cpu
