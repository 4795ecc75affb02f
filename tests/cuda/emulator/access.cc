#include "tests/cuda/emulator/access.h"

#include "tests/cuda/emulator/atomics.h"
#include "tests/cuda/emulator/block.h"
#include "tests/cuda/emulator/grid_races.h"
#include "tests/cuda/emulator/memory.h"
#include "tests/cuda/emulator/text.h"

namespace annulus::emulator {
namespace {

const char* VerbOf(const MemoryAccess& access) {
  return access.access == Access::kWrite ? "a write" : "a read";
}

bool CheckShared(const MemoryAccess& access) {
  const auto offset =
      static_cast<size_t>(static_cast<const std::byte*>(access.p) - block->shared.data());
  if (offset + access.bytes > block->shared.bytes()) {
    Tell(Defect::kMemory,
         Text("%s of %zu bytes at offset %zu of %zu bytes of shared memory, at %s", VerbOf(access),
              access.bytes, offset, block->shared.bytes(), LineOf(access.at).c_str()));
    return false;
  }
  if (block->races != nullptr && !access.atomic) {
    block->races->Check({static_cast<uint32_t>(offset), static_cast<uint32_t>(access.bytes),
                         access.access, access.thread, access.at, Proxy::kGeneric});
  }
  return true;
}

// What is neither a device's nor shared: arguments, constants of the program and its places in a
// grid may be read, pinned memory may be used.
bool MayTouchOther(const MemoryAccess& access) {
  extern const char executable_start __asm__("__executable_start");
  extern const char executable_end __asm__("_end");
  if (access.p >= &executable_start && access.p < &executable_end) {
    return access.access == Access::kRead;
  }
  constexpr std::ptrdiff_t kNear = 4096;
  const std::ptrdiff_t from_place =
      static_cast<const char*>(access.p) - reinterpret_cast<const char*>(&threadIdx);
  if (from_place > -kNear && from_place < kNear) return true;
  return IsArgument(access.p) || IsPinned(access.p, access.bytes);
}

bool CheckGlobal(const MemoryAccess& access) {
  const auto allocation = FindOnDevice(access.p);
  if (!allocation) {
    if (MayTouchOther(access)) return true;
    Tell(Defect::kMemory, Text("%s of %p, which is no memory of the device, at %s", VerbOf(access),
                               access.p, LineOf(access.at).c_str()));
    return false;
  }
  if (!allocation->Holds(access.p, access.bytes)) {
    Tell(Defect::kMemory,
         Text("%s of %zu bytes at offset %td of an allocation of %zu, at %s", VerbOf(access),
              access.bytes, static_cast<const std::byte*>(access.p) - allocation->begin,
              allocation->bytes, LineOf(access.at).c_str()));
    return false;
  }
  if (allocation->device != block->shape.device) {
    Tell(Defect::kMemory,
         Text("%s of memory of device %d by a kernel of device %d, at %s", VerbOf(access),
              allocation->device, block->shape.device, LineOf(access.at).c_str()));
    return false;
  }
  if (block->races != nullptr) CheckGridAccess(*allocation, access);
  return true;
}

}  // namespace

bool CheckAccess(const MemoryAccess& access) {
  MemoryAccess by = access;
  if (by.thread < 0) by.thread = self->index;
  return block->shared.Contains(by.p) ? CheckShared(by) : CheckGlobal(by);
}

void AtomicAccess(const void* p, size_t bytes, Place at) {
  const InEmulator inside;
  CheckAccess({p, bytes, Access::kWrite, at, -1, true});
}

}  // namespace annulus::emulator
