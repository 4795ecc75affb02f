#include "tests/cuda/emulator/fiber.h"

#include <sys/mman.h>

#include <cstdint>
#include <new>
#include <utility>

// AddressSanitizer is told of stacks, where the program is linked with it.
extern "C" {
void __sanitizer_start_switch_fiber(void** save, const void* bottom, size_t size)
    __attribute__((weak));
void __sanitizer_finish_switch_fiber(void* save, const void** bottom, size_t* size)
    __attribute__((weak));
void __asan_unpoison_memory_region(const volatile void* p, size_t size) __attribute__((weak));
}

#if defined(__x86_64__)
// annulus_switch_stack(save, to): pushes what a call keeps, stores the stack pointer in *save and
// goes on where `to` was stored.
extern "C" void annulus_switch_stack(void** save, void* to);
asm(R"(
.text
.globl annulus_switch_stack
.type annulus_switch_stack,@function
annulus_switch_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size annulus_switch_stack,.-annulus_switch_stack
)");
#elif defined(__aarch64__)
extern "C" void annulus_switch_stack(void** save, void* to);
asm(R"(
.text
.globl annulus_switch_stack
.type annulus_switch_stack,%function
annulus_switch_stack:
  sub sp, sp, #160
  stp x19, x20, [sp]
  stp x21, x22, [sp, #16]
  stp x23, x24, [sp, #32]
  stp x25, x26, [sp, #48]
  stp x27, x28, [sp, #64]
  stp x29, x30, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x9, sp
  str x9, [x0]
  mov sp, x1
  ldp x19, x20, [sp]
  ldp x21, x22, [sp, #16]
  ldp x23, x24, [sp, #32]
  ldp x25, x26, [sp, #48]
  ldp x27, x28, [sp, #64]
  ldp x29, x30, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  add sp, sp, #160
  ret
.size annulus_switch_stack,.-annulus_switch_stack
)");
#else
#error "the emulator switches stacks on x86-64 and AArch64 alone"
#endif

namespace annulus::emulator {
namespace {

// The host thread's own stack, as the sanitizer gave it.
thread_local const void* host_bottom = nullptr;
thread_local size_t host_size = 0;

}  // namespace

Stack::Stack() {
  void* memory = mmap(nullptr, kStackBytes + kGuardBytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  mprotect(memory, kGuardBytes, PROT_NONE);
  begin_ = static_cast<char*>(memory) + kGuardBytes;
}

Stack::~Stack() {
  if (begin_ != nullptr) munmap(begin_ - kGuardBytes, kStackBytes + kGuardBytes);
}

Stack::Stack(Stack&& other) noexcept : begin_(std::exchange(other.begin_, nullptr)) {}

void Prepare(Fiber& fiber, const Stack& stack, void (*entry)()) {
  if (__asan_unpoison_memory_region != nullptr) {
    __asan_unpoison_memory_region(stack.begin(), kStackBytes);  // an aborted kernel left its marks
  }
  auto* top = reinterpret_cast<void**>(stack.end() - 64);
#if defined(__x86_64__)
  *--top = nullptr;  // where entry() would return to
  *--top = reinterpret_cast<void*>(entry);
  for (int i = 0; i < 6; ++i) *--top = nullptr;
#else
  for (int i = 0; i < 20; ++i) *--top = nullptr;
  top[11] = reinterpret_cast<void*>(entry);
#endif
  fiber = {top, nullptr};
}

void Resume(Fiber& scheduler, Fiber& fiber, const Stack& stack) {
  if (__sanitizer_start_switch_fiber != nullptr) {
    __sanitizer_start_switch_fiber(&scheduler.sanitizer_state, stack.begin(), kStackBytes);
  }
  annulus_switch_stack(&scheduler.stack_pointer, fiber.stack_pointer);
  if (__sanitizer_finish_switch_fiber != nullptr) {
    __sanitizer_finish_switch_fiber(scheduler.sanitizer_state, nullptr, nullptr);
  }
}

void Suspend(Fiber& fiber, Fiber& scheduler, bool last) {
  if (__sanitizer_start_switch_fiber != nullptr) {
    __sanitizer_start_switch_fiber(last ? nullptr : &fiber.sanitizer_state, host_bottom, host_size);
  }
  annulus_switch_stack(&fiber.stack_pointer, scheduler.stack_pointer);
  if (__sanitizer_finish_switch_fiber != nullptr) {
    __sanitizer_finish_switch_fiber(fiber.sanitizer_state, &host_bottom, &host_size);
  }
}

void Begin() {
  if (__sanitizer_finish_switch_fiber != nullptr) {
    __sanitizer_finish_switch_fiber(nullptr, &host_bottom, &host_size);
  }
}

}  // namespace annulus::emulator
