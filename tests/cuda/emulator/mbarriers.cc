// mbarriers of a block. Source: PTX ISA, "Parallel Synchronization and Communication Instructions:
// mbarrier".
#include "tests/cuda/emulator/mbarriers.h"

#include <cstring>

#include "tests/cuda/emulator/access.h"
#include "tests/cuda/emulator/block.h"
#include "tests/cuda/emulator/hopper.h"
#include "tests/cuda/emulator/text.h"

namespace annulus::emulator {
namespace {

// What the 8 bytes hold, so that an ordinary write is noticed.
constexpr uint64_t kMark = 0xb5b5b5b5b5b5b5b5u;

std::string NameAt(uint32_t barrier, Place at) {
  return Text("the mbarrier at shared offset 0x%x, at %s", barrier - kSharedWindow,
              LineOf(at).c_str());
}

// The running thread uses a barrier that exists; else the block is given up.
Mbarrier& Use(uint32_t barrier, const char* what, Place at) {
  std::byte* memory = block->shared.At(barrier, 8, what, at);
  const auto found = block->mbarriers.find(barrier);
  if (barrier % 8 != 0 || found == block->mbarriers.end()) {
    Tell(Defect::kBarrier, Text("%s without initialisation: ", what) + NameAt(barrier, at));
    block->GiveUp();
  }
  // Its initialisation has to be ordered before.
  CheckAccess({memory, 8, Access::kRead, at, -1, false});
  uint64_t mark;
  std::memcpy(&mark, memory, sizeof mark);
  if (mark != kMark) {
    Tell(Defect::kBarrier, "an ordinary write has hit " + NameAt(barrier, at));
    block->GiveUp();
  }
  return found->second;
}

void Release(uint32_t barrier, int thread) {
  if (block->races != nullptr) block->races->Release(barrier, thread);
}

void CompleteIfDone(Mbarrier& barrier) {
  if (barrier.pending > 0 || barrier.bytes != 0) return;
  barrier.phase ^= 1;
  barrier.pending = barrier.count;
  for (const int thread : barrier.waiters) block->Wake(thread);
  barrier.waiters.clear();
}

}  // namespace

void MbarrierInit(uint32_t barrier, int arrivals, Place at) {
  const InEmulator inside;
  RequireCapability(90, "mbarrier.init", at);
  std::byte* memory = block->shared.At(barrier, 8, "mbarrier.init", at);
  if (!block->shared.Holds(barrier, 8)) return;
  CheckAccess({memory, 8, Access::kWrite, at, -1, false});
  Mbarrier fresh;
  fresh.count = fresh.pending = arrivals;
  block->mbarriers[barrier] = fresh;
  if (block->races != nullptr) block->races->ForgetMbarrier(barrier);
  std::memcpy(memory, &kMark, sizeof kMark);
}

void MbarrierArrive(uint32_t barrier, Place at) {
  const InEmulator inside;
  Mbarrier& of = Use(barrier, "mbarrier.arrive", at);
  Release(barrier, self->index);
  if (--of.pending < 0) {
    Tell(Defect::kBarrier, "more arrivals than it waits for: " + NameAt(barrier, at));
    block->GiveUp();
  }
  CompleteIfDone(of);
}

void MbarrierArriveExpect(uint32_t barrier, uint32_t bytes, Place at) {
  const InEmulator inside;
  Use(barrier, "mbarrier.arrive.expect_tx", at).bytes += bytes;
  MbarrierArrive(barrier, at);
}

void MbarrierWait(uint32_t barrier, uint32_t parity, Place at) {
  const InEmulator inside;
  while (Use(barrier, "mbarrier.try_wait", at).phase == static_cast<int>(parity & 1)) {
    block->mbarriers[barrier].waiters.push_back(self->index);
    block->BlockOn("mbarrier.try_wait", at);
  }
  if (block->races != nullptr) block->races->Acquire(barrier, self->index);
}

void CompleteBytes(uint32_t barrier, uint32_t bytes) {
  Release(barrier, block->races != nullptr ? block->races->engine() : 0);
  Mbarrier& of = block->mbarriers[barrier];
  of.bytes -= bytes;
  CompleteIfDone(of);
}

void CheckMbarrier(uint32_t barrier, const char* what, Place at) { Use(barrier, what, at); }

void FenceProxyAsync(Place at) {
  const InEmulator inside;
  RequireCapability(90, "fence.proxy.async", at);
  if (block->races != nullptr) block->races->FenceProxy(self->index);
}

void RequireCapability(int capability, const char* instruction, Place at) {
  if (TheOptions().capability >= capability) return;
  Tell(Defect::kDevice, Text("%s needs sm_%d and the device is sm_%d, at %s", instruction,
                             capability, TheOptions().capability, LineOf(at).c_str()));
  block->GiveUp();
}

}  // namespace annulus::emulator
