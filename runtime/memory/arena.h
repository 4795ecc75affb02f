// All tensor memory of a rank: one reservation, of the host or a device, used as a stack, charged
// to a ledger. Where ranks share the host's memory, what they share is a stack of its own beside
// it: such memory may be scarce, and on small pages.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "kernels/base/kernel_table.h"
#include "kernels/base/memory.h"
#include "parallel/communicator.h"
#include "runtime/memory/ledger.h"

namespace annulus::runtime {

// What an arena reserves, by the plan of what it will hold.
struct ArenaSize {
  int64_t bytes = 0;       // at the peak
  int64_t rank_bytes = 0;  // at the peak of what only this rank reads
  int64_t node_bytes = 0;  // at the peak of what ranks that share memory read
};
ArenaSize SizeOf(const Ledger& ledger);

class Arena final : public kernels::StackMemory {
 public:
  // Reserves `bytes` of zeroed memory from the operating system. Throws SystemError naming the size
  // when it has none to give.
  explicit Arena(int64_t bytes);

  // The same in `memory`, which is a device's: it holds `bytes`, contents unspecified, and may not
  // be touched by the host. Null: as above.
  Arena(int64_t bytes, kernels::OwnedMemory memory);

  // In `memory` of a device that holds size.bytes or, where that is null, in the host's; there what
  // peers read lies where they can read it if `group` says that ranks share memory. Collective over
  // `group`, which must outlive this, as is then the destructor.
  Arena(const ArenaSize& size, kernels::OwnedMemory memory, parallel::Communicator& group);

  // An arena without memory and without bound, to run a step dry: its addresses must not be read.
  static Arena Dry() { return Arena(DryTag{}); }

  ~Arena() override;
  Arena(Arena&&) = delete;
  Arena& operator=(Arena&&) = delete;

  using StackMemory::Push;
  void* Push(int64_t bytes, kernels::MemoryCategory category, std::string_view owner,
             kernels::Reach reach) override;
  Mark Top() const override { return static_cast<Mark>(entries_.size()); }
  void Release(Mark mark) override;

  bool dry() const { return mapping_ == nullptr && device_ == nullptr; }
  // Of both stacks.
  int64_t reserved_bytes() const;
  const Ledger& ledger() const { return ledger_; }
  // What the operating system counts in this process of the memory of peers.
  int64_t peer_bytes_mapped() const { return region_ ? region_->peer_bytes_mapped() : 0; }

 private:
  struct DryTag {};
  struct Entry {
    int line;
    int64_t bytes;
    kernels::Reach reach;
  };
  struct Stack {
    char* base = nullptr;
    int64_t reserved_bytes = 0;
    int64_t bytes = 0;
  };

  explicit Arena(DryTag);
  // The first stack, in `memory` of a device or, where that is null, the host's.
  void Reserve(int64_t bytes, kernels::OwnedMemory memory);
  // A private mapping, from a large page on.
  void Map(int64_t bytes);
  // Where there is one stack it holds everything.
  Stack& StackOf(kernels::Reach reach);
  // A sanitizer knows nothing of a device's memory.
  bool on_host() const { return mapping_ != nullptr; }

  kernels::OwnedMemory device_;
  std::unique_ptr<parallel::SharedRegion> region_;  // null: one stack
  void* mapping_ = nullptr;
  int64_t mapping_bytes_ = 0;
  std::array<Stack, kernels::kReaches> stacks_{};
  std::vector<Entry> entries_;
  Ledger ledger_;
};

}  // namespace annulus::runtime
