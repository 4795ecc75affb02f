// cp.async, its groups and waits.
#include <cstring>

#include "tests/cuda/emulator/access.h"
#include "tests/cuda/emulator/block.h"
#include "tests/cuda/emulator/instructions.h"
#include "tests/cuda/emulator/memory.h"
#include "tests/cuda/emulator/text.h"

namespace annulus::emulator {
namespace {

SharedAccess AccessOf(const PendingCopy& copy) {
  return {copy.to - kSharedWindow, copy.bytes, Access::kWrite, self->index, copy.at,
          Proxy::kGeneric};
}

void Move(const PendingCopy& copy) {
  std::byte* to = block->shared.At(copy.to, copy.bytes, "cp.async", copy.at);
  std::memcpy(to, copy.from, copy.source);
  std::memset(to + copy.source, 0, copy.bytes - copy.source);
}

bool CheckSource(const AsyncCopy& copy, Place at) {
  if (copy.source == 0) return true;
  if (DeviceOf(copy.from) < 0 || IsPoisoned(copy.from, copy.source)) {
    Tell(Defect::kMemory, Text("cp.async reads %p, which is no memory of the device, at %s",
                               copy.from, LineOf(at).c_str()));
    return false;
  }
  return CheckAccess({copy.from, copy.source, Access::kRead, at, -1, false});
}

}  // namespace

unsigned char* DynamicShared() { return reinterpret_cast<unsigned char*>(block->shared.data()); }

uint32_t SharedAddress(const void* p, Place at) { return block->shared.AddressOf(p, at); }

void CpAsync(const AsyncCopy& copy, Place at) {
  const InEmulator inside;
  if (copy.to % copy.bytes != 0 || reinterpret_cast<uintptr_t>(copy.from) % copy.bytes != 0) {
    Tell(Defect::kMemory, Text("cp.async of %u bytes to 0x%x from %p is not aligned, at %s",
                               copy.bytes, copy.to, copy.from, LineOf(at).c_str()));
  }
  const PendingCopy pending{copy.to, static_cast<const std::byte*>(copy.from), copy.bytes,
                            CheckSource(copy, at) ? copy.source : 0, at};
  std::byte* to = block->shared.At(copy.to, copy.bytes, "cp.async", at);
  if (!block->shared.Holds(copy.to, copy.bytes)) return;
  if (block->races != nullptr) block->races->BeginAsync(AccessOf(pending));
  std::memset(to, 0xff, copy.bytes);
  if (block->EffectNow()) Move(pending);
  self->open_copies.push_back(pending);
}

void CpAsyncCommit() {
  const InEmulator inside;
  self->copy_groups.emplace_back(std::move(self->open_copies));
  self->open_copies.clear();
}

void CpAsyncWait(int pending) {
  const InEmulator inside;
  while (static_cast<int>(self->copy_groups.size()) > pending) {
    for (const PendingCopy& copy : self->copy_groups.front()) {
      Move(copy);
      if (block->races != nullptr) block->races->EndAsync(AccessOf(copy));
    }
    self->copy_groups.erase(self->copy_groups.begin());
  }
}

}  // namespace annulus::emulator
