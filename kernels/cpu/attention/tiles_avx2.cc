// Fused attention on AVX2 with FMA: strips of 16 lanes, 6 x 2 accumulators in 16 registers.
// Compiled with -mavx2 -mfma.
#include <immintrin.h>

#include "kernels/cpu/attention/tile_kernels.inl.h"
#include "kernels/cpu/attention/tile_vector.inl.h"

namespace annulus::kernels::cpu {
namespace {

struct Avx2 : VectorIsa<8> {
  static ANNULUS_INLINE Vec Set(float x) { return _mm256_set1_ps(x); }
  static ANNULUS_INLINE Vec Max(Vec a, Vec b) { return _mm256_max_ps(a, b); }
  static ANNULUS_INLINE Vec Fma(Vec a, Vec b, Vec c) { return _mm256_fmadd_ps(a, b, c); }
  static ANNULUS_INLINE Vec Multiply(Vec a, Vec b, Vec c) { return Fma(a, b, c); }
  static ANNULUS_INLINE Vec Exp2(Vec x) { return RoundingExp2<Avx2>(x); }
};

}  // namespace

constinit const TileKernels kAvx2Tiles = MakeTileKernels<Avx2>("avx2");

}  // namespace annulus::kernels::cpu
