// Emulated bodies of the instructions in kernels/cuda/ptx_hopper.h and ptx_wgmma.h, for the running
// thread. `at` is the kernel's line; addresses are shared addresses.
#pragma once

#include <array>
#include <cstdint>

#include "tests/cuda/emulator/report.h"
#include "tests/cuda/emulator/tensor_map.h"

namespace annulus::emulator {

// ---- mbarriers: 8 bytes of shared memory, which nothing else may touch until the block ends.

void MbarrierInit(uint32_t barrier, int arrivals, Place at);
void MbarrierArrive(uint32_t barrier, Place at);
// After adding the bytes that copies will bring to the current phase.
void MbarrierArriveExpect(uint32_t barrier, uint32_t bytes, Place at);
// Until the phase of this parity is complete.
void MbarrierWait(uint32_t barrier, uint32_t parity, Place at);

void FenceProxyAsync(Place at);

// ---- TMA: the box reads NaN until the mbarrier has its bytes.

struct BoxCopy {
  uint32_t to;
  const CUtensorMap* map;
  std::array<int, kMostDims> first;  // element of the box's corner, the innermost dim first
  uint32_t barrier;
};
void TmaLoad(const BoxCopy& copy, Place at);

// ---- Sums by TMA: shared memory is read, and memory of the device added to, at some time before
// the wait for that.

struct BulkOperands {
  float* to;
  uint32_t from;
  uint32_t bytes;
};
void BulkAdd(const BulkOperands& operands, Place at);
void BulkCommit();
// Until all but the `pending` youngest groups of the thread are complete, or have been read.
void BulkWait(int pending, bool until_read);

// ---- wgmma: a warp's 16 rows of its warpgroup's product. The accumulators read NaN until the
// product is waited for.

struct WgmmaOperands {
  float* d;           // columns / 2 of the lane
  const uint32_t* a;  // 4 registers of the lane, or null: a_descriptor
  uint64_t a_descriptor;
  uint64_t b_descriptor;
  int columns;
  bool a_along_m, b_along_n;  // which dim is contiguous; else K
  bool accumulate;            // else d is overwritten
};
void Wgmma(const WgmmaOperands& operands, Place at);
void WgmmaFence(Place at);
void WgmmaCommit(Place at);
void WgmmaWait(int pending, Place at);

// setmaxnreg, by all warps of a warpgroup. A block has as many registers as all of its threads
// could have alike.
void SetRegisters(int count, Place at);

}  // namespace annulus::emulator
