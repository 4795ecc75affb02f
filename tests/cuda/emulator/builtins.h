// What kernels find in the language: barriers, shuffles, votes, atomics and arithmetic.
//
// Functions that reports name the caller of are not inlined: the address that they return to is the
// kernel's line.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>

#include "tests/cuda/emulator/atomics.h"
#include "tests/cuda/emulator/barriers.h"
#include "tests/cuda/emulator/block_place.h"
#include "tests/cuda/emulator/collectives.h"
#include "tests/cuda/emulator/runtime_types.h"

#define ANNULUS_EMULATED inline __attribute__((noinline, no_sanitize("thread")))
#define ANNULUS_CALLER __builtin_return_address(0)

inline constexpr int warpSize = 32;

ANNULUS_EMULATED void __syncthreads() { annulus::emulator::SyncThreads(false, ANNULUS_CALLER); }
ANNULUS_EMULATED int __syncthreads_count(int predicate) {
  return annulus::emulator::SyncThreads(predicate != 0, ANNULUS_CALLER);
}
ANNULUS_EMULATED int __syncthreads_or(int predicate) {
  return annulus::emulator::SyncThreads(predicate != 0, ANNULUS_CALLER) != 0;
}
ANNULUS_EMULATED int __syncthreads_and(int predicate) {
  return annulus::emulator::SyncThreads(predicate == 0, ANNULUS_CALLER) == 0;
}
ANNULUS_EMULATED void __syncwarp(unsigned mask = 0xffffffffu) {
  annulus::emulator::SyncWarp(mask, ANNULUS_CALLER);
}
inline void __threadfence() {}
inline void __threadfence_block() {}
inline void __threadfence_system() {}

template <class T>
ANNULUS_EMULATED T __shfl_sync(unsigned mask, T value, int source, int width = 32) {
  const int lane = annulus::emulator::Lane();
  return annulus::emulator::Shuffle("shfl.idx", mask, value,
                                    (lane & ~(width - 1)) | (source & (width - 1)), ANNULUS_CALLER);
}
template <class T>
ANNULUS_EMULATED T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32) {
  const int lane = annulus::emulator::Lane(), source = lane ^ bits;
  const bool is_beyond = (source & ~(width - 1)) > (lane & ~(width - 1));
  return annulus::emulator::Shuffle("shfl.bfly", mask, value, is_beyond ? lane : source,
                                    ANNULUS_CALLER);
}
template <class T>
ANNULUS_EMULATED T __shfl_down_sync(unsigned mask, T value, unsigned by, int width = 32) {
  const int lane = annulus::emulator::Lane(), distance = static_cast<int>(by);
  const bool is_inside = (lane & (width - 1)) + distance < width;
  return annulus::emulator::Shuffle("shfl.down", mask, value, is_inside ? lane + distance : lane,
                                    ANNULUS_CALLER);
}
template <class T>
ANNULUS_EMULATED T __shfl_up_sync(unsigned mask, T value, unsigned by, int width = 32) {
  const int lane = annulus::emulator::Lane(), distance = static_cast<int>(by);
  const bool is_inside = (lane & (width - 1)) >= distance;
  return annulus::emulator::Shuffle("shfl.up", mask, value, is_inside ? lane - distance : lane,
                                    ANNULUS_CALLER);
}
ANNULUS_EMULATED unsigned __ballot_sync(unsigned mask, int predicate) {
  return annulus::emulator::Ballot(mask, predicate != 0, ANNULUS_CALLER);
}
ANNULUS_EMULATED int __any_sync(unsigned mask, int predicate) {
  return annulus::emulator::Ballot(mask, predicate != 0, ANNULUS_CALLER) != 0;
}
ANNULUS_EMULATED int __all_sync(unsigned mask, int predicate) {
  return annulus::emulator::Ballot(mask, predicate != 0, ANNULUS_CALLER) == mask;
}

// Loads and stores with a hint for caches.
template <class T>
inline T __ldg(const T* p) {
  return *p;
}
template <class T>
inline T __ldcg(const T* p) {
  return *p;
}
template <class T>
inline T __ldcs(const T* p) {
  return *p;
}
template <class T>
inline void __stcs(T* p, T value) {
  *p = value;
}

// The C library declares functions of these two names.
#define __expf(x) (std::exp(static_cast<float>(x)))
#define __logf(x) (std::log(static_cast<float>(x)))
inline float __log2f(float x) { return std::log2(x); }
inline float __powf(float x, float y) { return std::pow(x, y); }
inline float __fdividef(float x, float y) { return x / y; }
inline float __frcp_rn(float x) { return 1 / x; }
inline float __fsqrt_rn(float x) { return std::sqrt(x); }
inline float __frsqrt_rn(float x) { return 1 / std::sqrt(x); }
inline float __fadd_rn(float x, float y) { return x + y; }
inline float __fmul_rn(float x, float y) { return x * y; }
inline float __fmaf_rn(float x, float y, float z) { return std::fma(x, y, z); }
inline float rsqrtf(float x) { return 1 / std::sqrt(x); }
inline float __saturatef(float x) { return x > 0 ? std::min(x, 1.0f) : 0; }
inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
inline int __float_as_int(float x) { return std::bit_cast<int>(x); }
inline float __uint_as_float(unsigned x) { return std::bit_cast<float>(x); }
inline float __int_as_float(int x) { return std::bit_cast<float>(x); }
inline int __popc(unsigned x) { return std::popcount(x); }
inline int __popcll(unsigned long long x) { return std::popcount(x); }
inline int __clz(int x) { return std::countl_zero(static_cast<unsigned>(x)); }
inline int __clzll(long long x) { return std::countl_zero(static_cast<unsigned long long>(x)); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline unsigned __umulhi(unsigned x, unsigned y) {
  return static_cast<unsigned>((static_cast<unsigned long long>(x) * y) >> 32);
}
using std::max;
using std::min;
