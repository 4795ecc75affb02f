// Atomic operations. Threads of a block are switched between instructions only and blocks run one
// after another, so memory of one device needs no more than to be told of; two host threads may run
// kernels that share memory, so the operations are atomic for them, too.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>

#include "tests/cuda/emulator/report.h"

namespace annulus::emulator {

// Checks an atomic operation on memory of a device or of the block.
void AtomicAccess(const void* p, size_t bytes, Place at);

template <class T, class Change>
__attribute__((noinline, no_sanitize("thread"))) T Atomically(T* p, Place at,
                                                              const Change& change) {
  AtomicAccess(p, sizeof(T), at);
  const std::atomic_ref<T> memory(*p);
  T before = memory.load();
  while (!memory.compare_exchange_weak(before, change(before))) {
  }
  return before;
}

}  // namespace annulus::emulator

#define ANNULUS_EMULATED_ATOMIC(name, result)                                        \
  template <class T>                                                                 \
  __attribute__((noinline, no_sanitize("thread"))) inline T name(T* p, T value) {    \
    return annulus::emulator::Atomically(p, __builtin_return_address(0),             \
                                         [value](T before) -> T { return result; }); \
  }
ANNULUS_EMULATED_ATOMIC(atomicAdd, before + value)
ANNULUS_EMULATED_ATOMIC(atomicSub, before - value)
ANNULUS_EMULATED_ATOMIC(atomicMax, std::max(before, value))
ANNULUS_EMULATED_ATOMIC(atomicMin, std::min(before, value))
ANNULUS_EMULATED_ATOMIC(atomicAnd, before& value)
ANNULUS_EMULATED_ATOMIC(atomicOr, before | value)
ANNULUS_EMULATED_ATOMIC(atomicXor, before ^ value)
ANNULUS_EMULATED_ATOMIC(atomicExch, (static_cast<void>(before), value))
#undef ANNULUS_EMULATED_ATOMIC

// Counts from 0 to `last`, then from 0 again.
__attribute__((noinline, no_sanitize("thread"))) inline unsigned atomicInc(unsigned* p,
                                                                           unsigned last) {
  return annulus::emulator::Atomically(
      p, __builtin_return_address(0),
      [last](unsigned before) -> unsigned { return before >= last ? 0 : before + 1; });
}

template <class T>
__attribute__((noinline, no_sanitize("thread"))) inline T atomicCAS(T* p, T expected, T value) {
  return annulus::emulator::Atomically(p, __builtin_return_address(0), [=](T before) -> T {
    return before == expected ? value : before;
  });
}
