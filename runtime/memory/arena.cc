#include "runtime/memory/arena.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>

#include "kernels/base/error.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#endif

namespace annulus::runtime {
namespace {

// Aligned to a large page, so that the kernel can back the arena with them.
constexpr int64_t kPageBytes = int64_t{2} << 20;
// Dry addresses start here: not null, and nothing is ever mapped that high in user space.
constexpr uintptr_t kDryBase = uintptr_t{1} << 56;

int64_t RoundUp(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

// The first large page that begins in it.
char* Aligned(void* memory) {
  const auto address = reinterpret_cast<uintptr_t>(memory);
  return static_cast<char*>(memory) +
         (RoundUp(static_cast<int64_t>(address), kPageBytes) - static_cast<int64_t>(address));
}

}  // namespace

ArenaSize SizeOf(const Ledger& ledger) {
  return {.bytes = ledger.peak_bytes(),
          .rank_bytes = ledger.peak_bytes(kernels::Reach::kRank),
          .node_bytes = ledger.peak_bytes(kernels::Reach::kNode)};
}

Arena::Arena(DryTag) {
  stacks_[0] = {.base = reinterpret_cast<char*>(kDryBase),  // NOLINT(performance-no-int-to-ptr)
                .reserved_bytes = std::numeric_limits<int64_t>::max()};
}

Arena::Arena(int64_t bytes) : Arena(bytes, nullptr) {}

Arena::Arena(int64_t bytes, kernels::OwnedMemory memory) { Reserve(bytes, std::move(memory)); }

Arena::Arena(const ArenaSize& size, kernels::OwnedMemory memory, parallel::Communicator& group)
    : region_(memory == nullptr ? group.ReserveShared(std::max<int64_t>(size.node_bytes, 1))
                                : nullptr) {
  Reserve(region_ ? size.rank_bytes : size.bytes, std::move(memory));
  if (!region_) return;
  stacks_[1] = {.base = static_cast<char*>(region_->data()), .reserved_bytes = region_->bytes()};
  ASAN_POISON_MEMORY_REGION(stacks_[1].base, static_cast<size_t>(stacks_[1].reserved_bytes));
}

void Arena::Reserve(int64_t bytes, kernels::OwnedMemory memory) {
  if (memory == nullptr) {
    Map(bytes);
    return;
  }
  device_ = std::move(memory);
  stacks_[0] = {.base = reinterpret_cast<char*>(device_.get()), .reserved_bytes = bytes};
}

void Arena::Map(int64_t bytes) {
  mapping_bytes_ = RoundUp(bytes, kPageBytes) + kPageBytes;
  mapping_ = mmap(nullptr, static_cast<size_t>(mapping_bytes_), PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapping_ == MAP_FAILED) {
    mapping_ = nullptr;
    ThrowSystemError("reserving {} bytes of memory failed: {}", bytes, std::strerror(errno));
  }
  stacks_[0] = {.base = Aligned(mapping_), .reserved_bytes = bytes};
  // Large pages spare TLB misses; a kernel without them says no, and nothing is lost.
  (void)madvise(stacks_[0].base, static_cast<size_t>(bytes / kPageBytes * kPageBytes),
                MADV_HUGEPAGE);
  ASAN_POISON_MEMORY_REGION(stacks_[0].base, static_cast<size_t>(bytes));
}

Arena::~Arena() {
  if (!on_host()) return;
  for (const Stack& stack : stacks_) {
    ASAN_UNPOISON_MEMORY_REGION(stack.base, static_cast<size_t>(stack.reserved_bytes));
  }
  munmap(mapping_, static_cast<size_t>(mapping_bytes_));
}

int64_t Arena::reserved_bytes() const {
  return stacks_[0].reserved_bytes + stacks_[1].reserved_bytes;
}

Arena::Stack& Arena::StackOf(kernels::Reach reach) {
  return stacks_[region_ && reach == kernels::Reach::kNode ? 1 : 0];
}

void* Arena::Push(int64_t bytes, kernels::MemoryCategory category, std::string_view owner,
                  kernels::Reach reach) {
  Check(bytes >= 0, "{} asks for {} bytes", owner, bytes);
  const int64_t charged = RoundUp(bytes, kAlignment);
  Stack& stack = StackOf(reach);
  Check(charged <= stack.reserved_bytes - stack.bytes,
        "{} asks for {} bytes of {}, but of {} reserved {} are in use", owner, charged,
        kernels::NameOf(category), stack.reserved_bytes, stack.bytes);
  char* const address = stack.base + stack.bytes;
  stack.bytes += charged;
  entries_.push_back({ledger_.Charge(charged, category, owner, reach), charged, reach});
  if (on_host()) ASAN_UNPOISON_MEMORY_REGION(address, static_cast<size_t>(bytes));
  return address;
}

void Arena::Release(Mark mark) {
  Check(mark >= 0 && mark <= Top(), "release to mark {} of a stack of {}", mark, Top());
  while (Top() > mark) {
    const Entry entry = entries_.back();
    entries_.pop_back();
    ledger_.Discharge(entry.line, entry.bytes, entry.reach);
    Stack& stack = StackOf(entry.reach);
    stack.bytes -= entry.bytes;
    if (on_host()) {
      ASAN_POISON_MEMORY_REGION(stack.base + stack.bytes, static_cast<size_t>(entry.bytes));
    }
  }
}

}  // namespace annulus::runtime
