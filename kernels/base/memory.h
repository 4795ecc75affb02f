// Where kernels and the ring driver get memory: a stack that the runtime owns and accounts for.
//
// Nothing below the runtime allocates. A training step has stack discipline (forward pushes what
// backward pops), so a stack needs no general allocator and its peak is exact.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string_view>

#include "kernels/base/view.h"

namespace annulus::kernels {

enum class MemoryCategory : uint8_t {
  kParameters,
  kGradients,
  kOptimizer,
  kBatch,        // token ids, labels, per-token losses, rotary tables
  kActivations,  // what forward keeps for backward, and the residual stream and its gradient
  kLogits,       // one chunk of logits
  kAttention,    // running attention state of one layer
  kRing,         // key/value and dK/dV blocks in flight
  kWorkspace,    // scratch of one kernel
};
inline constexpr int kMemoryCategories = 9;

std::string_view NameOf(MemoryCategory category);

// Who may read a tensor: the rank that has it, or also those that share memory with it.
enum class Reach : uint8_t { kRank, kNode };
inline constexpr int kReaches = 2;

class StackMemory {
 public:
  using Mark = int64_t;

  virtual ~StackMemory() = default;

  // `bytes` more on top of the stack, aligned to kAlignment and rounded up to it; the rounding is
  // charged too. Contents are unspecified. `owner` names the module and must outlive the stack.
  // Throws InternalError when the reservation is exceeded.
  virtual void* Push(int64_t bytes, MemoryCategory category, std::string_view owner,
                     Reach reach) = 0;
  void* Push(int64_t bytes, MemoryCategory category, std::string_view owner) {
    return Push(bytes, category, owner, Reach::kRank);
  }

  virtual Mark Top() const = 0;

  // Pops all that was pushed since `mark` was taken.
  virtual void Release(Mark mark) = 0;

  // A contiguous tensor on top of the stack.
  View Allocate(DType dtype, std::initializer_list<int64_t> dims, MemoryCategory category,
                std::string_view owner, Reach reach = Reach::kRank) {
    View view(nullptr, dtype, dims);
    view.data = Push(view.size_bytes(), category, owner, reach);
    return view;
  }

  static constexpr int64_t kAlignment = 64;
};

// Pops, at the end of a C++ scope, what was pushed during it.
class MemoryScope {
 public:
  explicit MemoryScope(StackMemory& memory) : memory_(memory), mark_(memory.Top()) {}
  ~MemoryScope() { memory_.Release(mark_); }
  MemoryScope(const MemoryScope&) = delete;
  MemoryScope& operator=(const MemoryScope&) = delete;

 private:
  StackMemory& memory_;
  StackMemory::Mark mark_;
};

}  // namespace annulus::kernels
