// Instructions that C++ has no word for, each one once, in two bodies: for nvcc inline assembly,
// for other compilers a call to the emulator that tests run kernels on. Kernels hold neither
// assembly nor conditional compilation. This header has those of sm_80, and includes those of
// Hopper.
//
// Source: PTX ISA 9.0. Shared addresses are 32 bits, of the shared window. Lane l of a warp is
// g = l / 4, t = l % 4 below.
#pragma once

#include "kernels/cuda/ptx_body.h"
#include "kernels/cuda/ptx_hopper.h"
#include "kernels/cuda/ptx_wgmma.h"

namespace annulus::kernels::cuda::ptx {

// The shared address of what p points to.
ANNULUS_PTX uint32_t SharedAddress(const void* p) {
  ANNULUS_PTX_BODY(return static_cast<uint32_t>(__cvta_generic_to_shared(p)),
                          return emulator::SharedAddress(p, ANNULUS_PTX_AT));
}

// The thread's place in its warp, read anew by each call: it is in no register in between.
ANNULUS_PTX int LaneIndex() {
  int lane;
  ANNULUS_PTX_BODY(asm volatile("mov.u32 %0, %%laneid;" : "=r"(lane)), lane = emulator::Lane());
  return lane;
}

// 2^x, 2 ulp; denormals are 0.
ANNULUS_PTX float Exp2(float x) {
  float y;
  ANNULUS_PTX_BODY(asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x)), y = __builtin_exp2f(x));
  return y;
}

// log2(x), absolute error 2^-22 between 1/2 and 2, else 2^-22 relative.
ANNULUS_PTX float Log2(float x) {
  float y;
  ANNULUS_PTX_BODY(asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x)), y = __builtin_log2f(x));
  return y;
}

// 1/x, 1 ulp.
ANNULUS_PTX float Reciprocal(float x) {
  float y;
  ANNULUS_PTX_BODY(asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x)), y = 1 / x);
  return y;
}

// Two bf16, `low` in the lower half, rounded to nearest even.
ANNULUS_PTX uint32_t PackBf16(float low, float high) {
  uint32_t packed;
  ANNULUS_PTX_BODY(asm("cvt.rn.bf16x2.f32 %0, %1, %2;"
                       : "=r"(packed)
                       : "f"(high), "f"(low)),
                   packed = emulator::PackBf16(low, high));
  return packed;
}

// x rounded to tf32, to nearest, ties away from 0, as bits of an f32.
ANNULUS_PTX uint32_t ToTf32(float x) {
  uint32_t bits;
  ANNULUS_PTX_BODY(asm("cvt.rna.tf32.f32 %0, %1;"
                       : "=r"(bits)
                       : "f"(x)),
                   bits = emulator::ToTf32(x));
  return bits;
}

// ---- Copies from global to shared memory that the thread does not wait for (sm_80).

// 16 bytes, or 16 bytes of 0 unless `exists`; then `from` is not read, but has to be aligned. Both
// are aligned to 16.
ANNULUS_PTX void CpAsync16(uint32_t to, const void* from, bool exists) {
  const uint32_t source = exists ? 16 : 0;
  ANNULUS_PTX_BODY(
      asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(source)
                   : "memory"),
      emulator::CpAsync({to, from, 16, source}, ANNULUS_PTX_AT));
}

// kBytes = 4 or 8 in the same way, through L1.
template <int kBytes>
ANNULUS_PTX void CpAsyncSmall(uint32_t to, const void* from, bool exists) {
  static_assert(kBytes == 4 || kBytes == 8);
  const uint32_t source = exists ? kBytes : 0;
  ANNULUS_PTX_BODY(asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(to),
                                "l"(from), "n"(kBytes), "r"(source)
                                : "memory"),
                   emulator::CpAsync({to, from, kBytes, source}, ANNULUS_PTX_AT));
}

// Ends a group of the thread's copies.
ANNULUS_PTX void CpAsyncCommit() {
  ANNULUS_PTX_BODY(asm volatile("cp.async.commit_group;" ::: "memory"), emulator::CpAsyncCommit());
}

// Until at most kPending groups of the thread's copies are under way. Other threads see them after
// a barrier.
template <int kPending>
ANNULUS_PTX void CpAsyncWait() {
  ANNULUS_PTX_BODY(asm volatile("cp.async.wait_group %0;" ::"n"(kPending)
                                : "memory"),
                   emulator::CpAsyncWait(kPending));
}

// ---- Matrices of a warp.

// 8 x 8 matrices of 16-bit elements from shared memory: `row`, of lane 8 m + r, is the address of
// row r of matrix m, aligned to 16. r[m] of a lane holds elements (g, 2 t) and (g, 2 t + 1) of
// matrix m; with Trans, (2 t, g) and (2 t + 1, g). X1 and X2 take addresses of the first 8 and 16
// lanes.
ANNULUS_PTX void LdMatrixX1(uint32_t& r, uint32_t row) {
  ANNULUS_PTX_BODY(asm volatile("ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%0}, [%1];"
                                : "=r"(r)
                                : "r"(row)
                                : "memory"),
                   emulator::LdMatrix(&r, 1, false, row, ANNULUS_PTX_AT));
}
ANNULUS_PTX void LdMatrixX1Trans(uint32_t& r, uint32_t row) {
  ANNULUS_PTX_BODY(asm volatile("ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16 {%0}, [%1];"
                                : "=r"(r)
                                : "r"(row)
                                : "memory"),
                   emulator::LdMatrix(&r, 1, true, row, ANNULUS_PTX_AT));
}
ANNULUS_PTX void LdMatrixX2(uint32_t (&r)[2], uint32_t row) {
  ANNULUS_PTX_BODY(asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
                                : "=r"(r[0]), "=r"(r[1])
                                : "r"(row)
                                : "memory"),
                   emulator::LdMatrix(r, 2, false, row, ANNULUS_PTX_AT));
}
ANNULUS_PTX void LdMatrixX2Trans(uint32_t (&r)[2], uint32_t row) {
  ANNULUS_PTX_BODY(asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
                                : "=r"(r[0]), "=r"(r[1])
                                : "r"(row)
                                : "memory"),
                   emulator::LdMatrix(r, 2, true, row, ANNULUS_PTX_AT));
}
ANNULUS_PTX void LdMatrixX4(uint32_t (&r)[4], uint32_t row) {
  ANNULUS_PTX_BODY(asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                                : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                                : "r"(row)
                                : "memory"),
                   emulator::LdMatrix(r, 4, false, row, ANNULUS_PTX_AT));
}
ANNULUS_PTX void LdMatrixX4Trans(uint32_t (&r)[4], uint32_t row) {
  ANNULUS_PTX_BODY(
      asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                   : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                   : "r"(row)
                   : "memory"),
      emulator::LdMatrix(r, 4, true, row, ANNULUS_PTX_AT));
}

// d [16x8] f32 += a [16x16] b [16x8] of bf16. d: (g, 2 t), (g, 2 t + 1), and both of row g + 8. a,
// in pairs of neighbours: (g, 2 t), (g + 8, 2 t), (g, 2 t + 8), (g + 8, 2 t + 8). b, in pairs of
// rows: (2 t, g), (2 t + 8, g).
ANNULUS_PTX void MmaBf16(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  ANNULUS_PTX_BODY(asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
                                "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                                : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                                : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1)),
                   emulator::MmaBf16(d, a, b0, b1, ANNULUS_PTX_AT));
}

// d [16x8] f32 += a [16x8] b [8x8] of tf32 (ToTf32). d as above. a: (g, t), (g + 8, t), (g, t + 4),
// (g + 8, t + 4). b: (t, g), (t + 4, g).
ANNULUS_PTX void MmaTf32(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  ANNULUS_PTX_BODY(asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
                                "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                                : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                                : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1)),
                   emulator::MmaTf32(d, a, b0, b1, ANNULUS_PTX_AT));
}

// ---- Barriers of some of a block's threads: kThreads, whole warps. 0 is __syncthreads's own.

// Until `threads` threads have arrived at barrier `id`, 1 to 15.
ANNULUS_PTX void BarSync(int id, int threads) {
  ANNULUS_PTX_BODY(asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads)
                                : "memory"),
                   emulator::NamedBarrier(id, threads, true, ANNULUS_PTX_AT));
}
// Arrives without waiting.
ANNULUS_PTX void BarArrive(int id, int threads) {
  ANNULUS_PTX_BODY(asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads)
                                : "memory"),
                   emulator::NamedBarrier(id, threads, false, ANNULUS_PTX_AT));
}

// ---- Words of the device's memory by which blocks of a kernel tell each other how far they are.

// What the thread, and threads that it has met in barriers, did before is there for whoever then
// finds `value`.
ANNULUS_PTX void StoreRelease(int* word, int value) {
  ANNULUS_PTX_BODY(asm volatile("st.release.gpu.global.s32 [%0], %1;" ::"l"(word), "r"(value)
                                : "memory"),
                   emulator::StoreRelease(word, value, ANNULUS_PTX_AT));
}
// Until the word is `value`. Who stores it must be of a block that is sure to run.
ANNULUS_PTX void WaitAcquire(const int* word, int value) {
  ANNULUS_PTX_BODY(
      int found; while (true) {
        asm volatile("ld.acquire.gpu.global.s32 %0, [%1];" : "=r"(found) : "l"(word) : "memory");
        if (found == value) break;
        asm volatile("nanosleep.u32 32;" ::: "memory");
      },
                 emulator::WaitAcquire(word, value, ANNULUS_PTX_AT));
}

}  // namespace annulus::kernels::cuda::ptx
