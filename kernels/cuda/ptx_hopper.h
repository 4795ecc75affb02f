// Instructions of Hopper (sm_90) that C++ has no word for: barriers in shared memory that count the
// bytes of copies, the copy engine (TMA), registers that warps hand to each other. Two bodies each,
// as in ptx.h. setmaxnreg needs sm_90a.
#pragma once

#include <cuda.h>

#include "kernels/cuda/ptx_body.h"

namespace annulus::kernels::cuda::ptx {

// ---- mbarriers: 8 bytes of shared memory at an address that 8 divides. A phase is complete when
// all arrivals and all bytes that were expected are there; then the next one starts. The first has
// parity 0.

ANNULUS_PTX void MbarrierInit(uint32_t barrier, int arrivals) {
  ANNULUS_PTX_BODY(
      asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals)
                   : "memory"),
      emulator::MbarrierInit(barrier, arrivals, ANNULUS_PTX_AT));
}

// Makes initialised barriers known to the copy engine; other threads need a __syncthreads as well.
ANNULUS_PTX void FenceMbarrierInit() {
  ANNULUS_PTX_BODY(asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"), (void)0);
}

// What the thread wrote to shared memory by ordinary stores is there for wgmma and the copy engine;
// other threads' reads need a barrier as well.
ANNULUS_PTX void FenceProxyAsync() {
  ANNULUS_PTX_BODY(asm volatile("fence.proxy.async.shared::cta;" ::
                                    : "memory"),
                   emulator::FenceProxyAsync(ANNULUS_PTX_AT));
}

// The same for memory of the device: orders what was acquired before what the copy engine is told
// to do from now on.
ANNULUS_PTX void FenceProxyAsyncGlobal() {
  ANNULUS_PTX_BODY(asm volatile("fence.proxy.async.global;" ::: "memory"), (void)0);
}

ANNULUS_PTX void MbarrierArrive(uint32_t barrier) {
  ANNULUS_PTX_BODY(asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier)
                                : "memory"),
                   emulator::MbarrierArrive(barrier, ANNULUS_PTX_AT));
}

// Arrives, and has the phase wait for so many bytes of copies.
ANNULUS_PTX void MbarrierArriveExpect(uint32_t barrier, uint32_t bytes) {
  ANNULUS_PTX_BODY(
      asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier),
                   "r"(bytes)
                   : "memory"),
      emulator::MbarrierArriveExpect(barrier, bytes, ANNULUS_PTX_AT));
}

// Until the phase of this parity is complete: returns at once for the parity before the first.
ANNULUS_PTX void MbarrierWait(uint32_t barrier, uint32_t parity) {
  ANNULUS_PTX_BODY(
      uint32_t complete; do {
        asm volatile(
            "{\n.reg .pred p;\n"
            "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n"
            "selp.b32 %0, 1, 0, p;\n}"
            : "=r"(complete)
            : "r"(barrier), "r"(parity)
            : "memory");
      } while (complete == 0),
                         emulator::MbarrierWait(barrier, parity, ANNULUS_PTX_AT));
}

// Has the copy engine fetch a box of a tensor to shared memory at `to`, a multiple of 128 bytes (of
// 1024 with a permutation of 128 bytes, to start with a period of it); (x, y) is its first element,
// what is outside of the tensor becomes 0. The mbarrier hears of its bytes.
ANNULUS_PTX void TmaLoad2d(uint32_t to, const CUtensorMap* map, int x, int y, uint32_t barrier) {
  ANNULUS_PTX_BODY(
      asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes "
                   "[%0], [%1, {%2, %3}], [%4];" ::"r"(to),
                   "l"(map), "r"(x), "r"(y), "r"(barrier)
                   : "memory"),
      emulator::TmaLoad({to, map, {x, y}, barrier}, ANNULUS_PTX_AT));
}
ANNULUS_PTX void TmaLoad3d(uint32_t to, const CUtensorMap* map, int x, int y, int z,
                           uint32_t barrier) {
  ANNULUS_PTX_BODY(
      asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes "
                   "[%0], [%1, {%2, %3, %4}], [%5];" ::"r"(to),
                   "l"(map), "r"(x), "r"(y), "r"(z), "r"(barrier)
                   : "memory"),
      emulator::TmaLoad({to, map, {x, y, z}, barrier}, ANNULUS_PTX_AT));
}

// ---- Matrices of a warp.

// Four 8 x 8 matrices of 16-bit elements to shared memory: the reverse of LdMatrixX4 (ptx.h).
ANNULUS_PTX void StMatrixX4(uint32_t row, const uint32_t (&r)[4]) {
  ANNULUS_PTX_BODY(
      asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(row),
                   "r"(r[0]), "r"(r[1]), "r"(r[2]), "r"(r[3])
                   : "memory"),
      emulator::StMatrix(r, 4, row, ANNULUS_PTX_AT));
}

// ---- Sums by the copy engine, in global memory. Groups of a thread's, as those of cp.async.

// Has the copy engine add `bytes` of f32 in shared memory at `from` to those at `to`, each at once;
// all three are multiples of 16. Which of two sums into one place comes first is not said.
ANNULUS_PTX void BulkAdd(float* to, uint32_t from, uint32_t bytes) {
  ANNULUS_PTX_BODY(
      asm volatile(
          "cp.reduce.async.bulk.global.shared::cta.bulk_group.add.f32 [%0], [%1], %2;" ::"l"(to),
          "r"(from), "r"(bytes)
          : "memory"),
      emulator::BulkAdd({to, from, bytes}, ANNULUS_PTX_AT));
}

// Ends a group of the thread's sums.
ANNULUS_PTX void BulkCommit() {
  ANNULUS_PTX_BODY(asm volatile("cp.async.bulk.commit_group;" ::
                                    : "memory"),
                   emulator::BulkCommit());
}

// Until shared memory of all but the kPending youngest groups of the thread has been read.
template <int kPending>
ANNULUS_PTX void BulkWaitRead() {
  ANNULUS_PTX_BODY(asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(kPending)
                                : "memory"),
                   emulator::BulkWait(kPending, true));
}

// Until all but those are complete.
template <int kPending>
ANNULUS_PTX void BulkWait() {
  ANNULUS_PTX_BODY(asm volatile("cp.async.bulk.wait_group %0;" ::"n"(kPending)
                                : "memory"),
                   emulator::BulkWait(kPending, false));
}

// By all warps of a warpgroup: gives registers away, so that each thread keeps kCount.
template <int kCount>
ANNULUS_PTX void ReleaseRegisters() {
  static_assert(kCount % 8 == 0 && kCount >= 24 && kCount <= 256);
  ANNULUS_PTX_BODY(asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kCount)),
                   emulator::SetRegisters(kCount, ANNULUS_PTX_AT));
}
// Waits for others to give theirs away, until each thread has kCount.
template <int kCount>
ANNULUS_PTX void ClaimRegisters() {
  static_assert(kCount % 8 == 0 && kCount >= 24 && kCount <= 256);
  ANNULUS_PTX_BODY(asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kCount)),
                   emulator::SetRegisters(kCount, ANNULUS_PTX_AT));
}

}  // namespace annulus::kernels::cuda::ptx
