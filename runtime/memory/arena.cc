#include "runtime/memory/arena.h"

#include <sys/mman.h>

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

}  // namespace

Arena::Arena(DryTag)
    : base_(reinterpret_cast<char*>(kDryBase)),  // NOLINT(performance-no-int-to-ptr)
      reserved_bytes_(std::numeric_limits<int64_t>::max()) {}

Arena::Arena(int64_t bytes) : Arena(bytes, nullptr) {}

Arena::Arena(int64_t bytes, kernels::OwnedMemory memory)
    : device_(std::move(memory)),
      base_(reinterpret_cast<char*>(device_.get())),
      reserved_bytes_(bytes) {
  if (device_ == nullptr) MapHostMemory();
}

void Arena::MapHostMemory() {
  const int64_t bytes = reserved_bytes_;
  mapping_bytes_ = RoundUp(bytes, kPageBytes) + kPageBytes;
  mapping_ = mmap(nullptr, static_cast<size_t>(mapping_bytes_), PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapping_ == MAP_FAILED) {
    mapping_ = nullptr;
    ThrowSystemError("reserving {} bytes of memory failed: {}", bytes, std::strerror(errno));
  }
  const auto address = reinterpret_cast<uintptr_t>(mapping_);
  base_ = static_cast<char*>(mapping_) +
          (RoundUp(static_cast<int64_t>(address), kPageBytes) - static_cast<int64_t>(address));
  // Large pages spare TLB misses; a kernel without them says no, and nothing is lost.
  (void)madvise(base_, static_cast<size_t>(bytes / kPageBytes * kPageBytes), MADV_HUGEPAGE);
  ASAN_POISON_MEMORY_REGION(base_, static_cast<size_t>(bytes));
}

Arena::~Arena() {
  if (mapping_ == nullptr) return;
  ASAN_UNPOISON_MEMORY_REGION(base_, static_cast<size_t>(reserved_bytes_));
  munmap(mapping_, static_cast<size_t>(mapping_bytes_));
}

void* Arena::Push(int64_t bytes, kernels::MemoryCategory category, std::string_view owner) {
  Check(bytes >= 0, "{} asks for {} bytes", owner, bytes);
  const int64_t charged = RoundUp(bytes, kAlignment);
  Check(charged <= reserved_bytes_ - ledger_.bytes(),
        "{} asks for {} bytes of {}, but of {} reserved {} are in use", owner, charged,
        kernels::NameOf(category), reserved_bytes_, ledger_.bytes());
  char* const address = AddressOfTop();
  entries_.push_back({ledger_.Charge(charged, category, owner), charged});
  if (on_host()) ASAN_UNPOISON_MEMORY_REGION(address, static_cast<size_t>(bytes));
  return address;
}

void Arena::Release(Mark mark) {
  Check(mark >= 0 && mark <= Top(), "release to mark {} of a stack of {}", mark, Top());
  while (Top() > mark) {
    const Entry entry = entries_.back();
    entries_.pop_back();
    ledger_.Discharge(entry.line, entry.bytes);
    if (on_host()) ASAN_POISON_MEMORY_REGION(AddressOfTop(), static_cast<size_t>(entry.bytes));
  }
}

}  // namespace annulus::runtime
