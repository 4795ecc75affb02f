// Emulated bodies of the instructions in kernels/cuda/ptx.h, for the running thread. `at` is the
// kernel's line. Shared addresses are those of SharedAddress().
#pragma once

#include <cstddef>
#include <cstdint>

#include "tests/cuda/emulator/barriers.h"
#include "tests/cuda/emulator/report.h"

namespace annulus::emulator {

// The block's dynamic shared memory, aligned to kSharedAlignment.
unsigned char* DynamicShared();
uint32_t SharedAddress(const void* p, Place at);

// ---- cp.async: shared memory at `to` reads NaN until the copy is waited for.

struct AsyncCopy {
  uint32_t to;
  const void* from;
  uint32_t bytes;   // 4, 8 or 16
  uint32_t source;  // of them read; the rest becomes 0
};
void CpAsync(const AsyncCopy& copy, Place at);
void CpAsyncCommit();
// Until all but the `pending` youngest groups of the thread are complete.
void CpAsyncWait(int pending);

// ---- Matrices in fragments over a warp. Every lane calls with its own registers.

// kMatrices 8 x 8 matrices of 16-bit elements; lane 8 m + r has the address of row r of matrix m.
void LdMatrix(uint32_t* registers, int matrices, bool transposed, uint32_t address, Place at);

// The reverse, not transposed.
void StMatrix(const uint32_t* registers, int matrices, uint32_t address, Place at);

enum class Fragments : uint8_t { kBf16, kF16, kTf32 };
struct MmaOperands {
  float* d;  // accumulates
  const uint32_t* a;
  const uint32_t* b;
};
// d [16x8] += a [16xK] b [Kx8], K = 16 of 16-bit elements, 8 of tf32.
void Mma(Fragments fragments, const MmaOperands& operands, Place at);
inline void MmaBf16(float* d, const uint32_t* a, uint32_t b0, uint32_t b1, Place at) {
  const uint32_t b[2] = {b0, b1};
  Mma(Fragments::kBf16, {d, a, b}, at);
}
inline void MmaTf32(float* d, const uint32_t* a, uint32_t b0, uint32_t b1, Place at) {
  const uint32_t b[2] = {b0, b1};
  Mma(Fragments::kTf32, {d, a, b}, at);
}

// ---- Words by which blocks wait for each other. Blocks run one after another, so a word that no
// earlier block has stored is a deadlock.

void StoreRelease(int* word, int value, Place at);
void WaitAcquire(const int* word, int value, Place at);

// ---- Conversions.

uint32_t PackBf16(float low, float high);
uint32_t ToTf32(float x);

}  // namespace annulus::emulator
