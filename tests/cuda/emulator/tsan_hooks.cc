// What code compiled with -fsanitize=thread calls at every access. ThreadSanitizer itself is not
// linked: accesses of running kernels are checked here, all others are let go.
#include <cstddef>
#include <cstring>

#include "tests/cuda/emulator/access.h"
#include "tests/cuda/emulator/block.h"
#include "tests/cuda/emulator/text.h"

extern "C" {
extern const char annulus_emulator_kernels_are_instrumented;
const char annulus_emulator_kernels_are_instrumented = 1;
}

namespace annulus::emulator {
namespace {

void OnAccess(const void* p, size_t bytes, Access access, Place at) {
  if (self == nullptr || block->in_emulator) return;
  if (block->StackOf(*self).Contains(p)) return;  // registers and local memory
  const InEmulator inside;
  if (!CheckAccess({p, bytes, access, at, -1, false})) block->GiveUp();
  const int one_in = TheOptions().preempt_one_in;
  if (one_in > 0 && block->random.OneIn(static_cast<uint32_t>(one_in))) block->Yield();
}

void OnAlignedAccess(const void* p, size_t bytes, Access access, Place at) {
  if (self != nullptr && !block->in_emulator && reinterpret_cast<uintptr_t>(p) % bytes != 0) {
    const InEmulator inside;
    Tell(Defect::kMemory,
         Text("an access of %zu bytes at %p is not aligned, at %s", bytes, p, LineOf(at).c_str()));
  }
  OnAccess(p, bytes, access, at);
}

}  // namespace
}  // namespace annulus::emulator

namespace emulator = annulus::emulator;

#define ANNULUS_HOOKS(bytes)                                                                    \
  void __tsan_read##bytes(void* p) {                                                            \
    emulator::OnAlignedAccess(p, bytes, emulator::Access::kRead, __builtin_return_address(0));  \
  }                                                                                             \
  void __tsan_write##bytes(void* p) {                                                           \
    emulator::OnAlignedAccess(p, bytes, emulator::Access::kWrite, __builtin_return_address(0)); \
  }                                                                                             \
  void __tsan_unaligned_read##bytes(void* p) {                                                  \
    emulator::OnAccess(p, bytes, emulator::Access::kRead, __builtin_return_address(0));         \
  }                                                                                             \
  void __tsan_unaligned_write##bytes(void* p) {                                                 \
    emulator::OnAccess(p, bytes, emulator::Access::kWrite, __builtin_return_address(0));        \
  }

extern "C" {
ANNULUS_HOOKS(1)
ANNULUS_HOOKS(2)
ANNULUS_HOOKS(4)
ANNULUS_HOOKS(8)
ANNULUS_HOOKS(16)
void __tsan_read_range(void* p, size_t bytes) {
  emulator::OnAccess(p, bytes, emulator::Access::kRead, __builtin_return_address(0));
}
void __tsan_write_range(void* p, size_t bytes) {
  emulator::OnAccess(p, bytes, emulator::Access::kWrite, __builtin_return_address(0));
}
// Newer compilers call these for copies and fills.
void* __tsan_memcpy(void* to, const void* from, size_t bytes) {
  emulator::OnAccess(from, bytes, emulator::Access::kRead, __builtin_return_address(0));
  emulator::OnAccess(to, bytes, emulator::Access::kWrite, __builtin_return_address(0));
  return std::memcpy(to, from, bytes);
}
void* __tsan_memmove(void* to, const void* from, size_t bytes) {
  emulator::OnAccess(from, bytes, emulator::Access::kRead, __builtin_return_address(0));
  emulator::OnAccess(to, bytes, emulator::Access::kWrite, __builtin_return_address(0));
  return std::memmove(to, from, bytes);
}
void* __tsan_memset(void* to, int value, size_t bytes) {
  emulator::OnAccess(to, bytes, emulator::Access::kWrite, __builtin_return_address(0));
  return std::memset(to, value, bytes);
}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_init() {}
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}
}
