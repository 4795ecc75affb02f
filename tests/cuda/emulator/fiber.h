// Stacks that one host thread runs in turns: one for every thread of a block.
#pragma once

#include <cstddef>

namespace annulus::emulator {

inline constexpr size_t kStackBytes = 256 * 1024;
// Whole pages of every system; as much as a stack's overflow may leap over and still be seen.
inline constexpr size_t kGuardBytes = 64 * 1024;

// Memory for a stack, below it a guard that nobody may touch. Owned.
class Stack {
 public:
  Stack();
  ~Stack();
  Stack(Stack&& other) noexcept;
  Stack& operator=(Stack&&) = delete;

  char* begin() const { return begin_; }
  char* end() const { return begin_ + kStackBytes; }
  bool Contains(const void* p) const { return p >= begin_ && p < end(); }

 private:
  char* begin_ = nullptr;
};

// A suspended computation. Its host thread's own, the scheduler's, is the default one.
struct Fiber {
  void* stack_pointer = nullptr;
  void* sanitizer_state = nullptr;
};

// `fiber` will run `entry`, which never returns, on `stack`.
void Prepare(Fiber& fiber, const Stack& stack, void (*entry)());

// From the scheduler to a fiber on `stack`, until that suspends itself.
void Resume(Fiber& scheduler, Fiber& fiber, const Stack& stack);

// From a fiber to the scheduler. `last` if it will not be resumed.
void Suspend(Fiber& fiber, Fiber& scheduler, bool last);

// The first thing a fiber does.
void Begin();

}  // namespace annulus::emulator
