// Four floats, by the vector extension of GCC and Clang: every CPU has them.
#pragma once

#include "kernels/cpu/attention/tile_multiply.inl.h"

namespace annulus::kernels::cpu {
namespace {

typedef float Quad __attribute__((vector_size(16)));
typedef uint32_t QuadBits __attribute__((vector_size(16)));
typedef uint16_t QuadHalves __attribute__((vector_size(8)));

ANNULUS_INLINE Quad LoadQuad(const float* from) {
  Quad quad;
  __builtin_memcpy(&quad, from, sizeof(quad));
  return quad;
}
ANNULUS_INLINE void StoreQuad(float* to, Quad quad) { __builtin_memcpy(to, &quad, sizeof(quad)); }

// bf16 as its bits. Loads are exact; stores round to nearest, ties to even, and keep a NaN one.
ANNULUS_INLINE Quad LoadQuad(const uint16_t* from) {
  QuadHalves halves;
  __builtin_memcpy(&halves, from, sizeof(halves));
  return reinterpret_cast<Quad>(__builtin_convertvector(halves, QuadBits) << 16);
}
ANNULUS_INLINE void StoreQuad(uint16_t* to, Quad quad) {
  const QuadBits bits = reinterpret_cast<QuadBits>(quad);
  const QuadBits rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  const QuadBits quiet = (bits >> 16) | 0x40;
  const QuadHalves halves = __builtin_convertvector(quad == quad ? rounded : quiet, QuadHalves);
  __builtin_memcpy(to, &halves, sizeof(halves));
}

ANNULUS_INLINE void Transpose(Quad (&r)[4]) {
  const Quad a = __builtin_shufflevector(r[0], r[1], 0, 4, 1, 5);
  const Quad b = __builtin_shufflevector(r[0], r[1], 2, 6, 3, 7);
  const Quad c = __builtin_shufflevector(r[2], r[3], 0, 4, 1, 5);
  const Quad d = __builtin_shufflevector(r[2], r[3], 2, 6, 3, 7);
  r[0] = __builtin_shufflevector(a, c, 0, 1, 4, 5);
  r[1] = __builtin_shufflevector(a, c, 2, 3, 6, 7);
  r[2] = __builtin_shufflevector(b, d, 0, 1, 4, 5);
  r[3] = __builtin_shufflevector(b, d, 2, 3, 6, 7);
}

}  // namespace
}  // namespace annulus::kernels::cpu
