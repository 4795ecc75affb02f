#include "tests/cuda/emulator/faults.h"

#include <execinfo.h>
#include <link.h>
#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <array>
#include <cstring>
#include <memory>
#include <mutex>

#include "tests/cuda/emulator/block.h"
#include "tests/cuda/emulator/memory.h"
#include "tests/cuda/emulator/text.h"

namespace annulus::emulator {
namespace {

constexpr size_t kHandlerStackBytes = 256 * 1024;

struct sigaction before;  // guarded by the once of WatchFaults

#if defined(__x86_64__)
auto& ProgramCounter(ucontext_t& context) { return context.uc_mcontext.gregs[REG_RIP]; }
auto& StackPointer(ucontext_t& context) { return context.uc_mcontext.gregs[REG_RSP]; }
#else
auto& ProgramCounter(ucontext_t& context) { return context.uc_mcontext.pc; }
auto& StackPointer(ucontext_t& context) { return context.uc_mcontext.sp; }
#endif

template <class Register>
void Set(Register& to, uintptr_t value) {
  to = static_cast<Register>(value);
}

bool IsOfProgram(Place at) {
  extern const char executable_start __asm__("__executable_start");
  extern const char executable_end __asm__("etext");
  return at >= &executable_start && at < &executable_end;
}

// The program's line that faulted, or that called the library function that did.
Place FaultingPlace(Place counter) {
  if (IsOfProgram(counter)) return static_cast<const char*>(counter) + 1;
  std::array<void*, 32> frames{};
  const int count = backtrace(frames.data(), static_cast<int>(frames.size()));
  bool is_past_handler = false;
  for (int i = 0; i < count; ++i) {
    const void* frame = frames[static_cast<size_t>(i)];
    if (is_past_handler && IsOfProgram(frame)) return frame;
    is_past_handler = is_past_handler || frame == counter;
  }
  return nullptr;
}

// Where a kernel that faulted goes on, on its own stack.
[[noreturn]] void GiveUpKernel() { block->GiveUp(); }

void DivertToGiveUp(ucontext_t& context) {
  const Stack& stack = block->StackOf(*self);
  // From the middle of the stack where it overflowed; what is below is of no use any more.
  const auto pointer = static_cast<uintptr_t>(StackPointer(context));
  const bool is_inside = stack.Contains(reinterpret_cast<const void*>(pointer - 4096));
  const auto middle = reinterpret_cast<uintptr_t>(stack.end()) - kStackBytes / 2;
  Set(StackPointer(context), ((is_inside ? pointer - 512 : middle) & ~uintptr_t{15}) - 8);
  Set(ProgramCounter(context), reinterpret_cast<uintptr_t>(&GiveUpKernel));
}

// True if it was dealt with.
bool Handle(const void* address, ucontext_t& context) {
  const Place at = FaultingPlace(reinterpret_cast<Place>(ProgramCounter(context)));
  const int device = DeviceOf(address);
  if (self != nullptr) {
    const bool was_in_emulator = block->in_emulator;
    block->in_emulator = true;
    const char* guard = block->StackOf(*self).begin();
    const bool overflows = address < guard && address >= guard - kGuardBytes;
    if (device < 0 && !overflows && was_in_emulator) return false;  // a fault of our own
    Tell(Defect::kMemory,
         overflows ? "a thread's stack overflows at " + LineOf(at)
                   : Text("a kernel touches %p, which is %s, at %s", address,
                          device < 0 ? "no memory of its device" : "not allocated on its device",
                          LineOf(at).c_str()));
    DivertToGiveUp(context);
    return true;
  }
  if (device < 0) return false;
  const bool allocated = FindOnDevice(address).has_value();
  Tell(Defect::kMemory, Text("the host touches %s memory of device %d, at %s",
                             allocated ? "allocated" : "unallocated", device, LineOf(at).c_str()));
  if (allocated) OpenForHost(address);
  return allocated;
}

void OnFault(int, siginfo_t* info, void* raw_context) {
  if (Handle(info->si_addr, *static_cast<ucontext_t*>(raw_context))) return;
  // As if we were not here: the instruction faults again.
  sigaction(SIGSEGV, &before, nullptr);
}

struct HandlerStack {
  HandlerStack() {
    memory = std::make_unique<char[]>(kHandlerStackBytes);
    stack_t stack{};
    stack.ss_sp = memory.get();
    stack.ss_size = kHandlerStackBytes;
    sigaltstack(&stack, &previous);
  }
  ~HandlerStack() { sigaltstack(&previous, nullptr); }

  std::unique_ptr<char[]> memory;
  stack_t previous{};
};

}  // namespace

void WatchFaultsOfThread() { static thread_local const HandlerStack stack; }

void WatchFaults() {
  static std::once_flag once;
  std::call_once(once, [] {
    std::array<void*, 4> frames{};
    backtrace(frames.data(), 4);  // loads what it needs outside of the handler
    struct sigaction action {};
    action.sa_sigaction = OnFault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    sigaction(SIGSEGV, &action, &before);
  });
}

}  // namespace annulus::emulator
