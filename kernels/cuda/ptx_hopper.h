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
