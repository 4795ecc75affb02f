// All tensor memory of a rank: one reservation, of the host or a device, used as a stack, charged
// to a ledger.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "kernels/base/kernel_table.h"
#include "kernels/base/memory.h"
#include "runtime/memory/ledger.h"

namespace annulus::runtime {

class Arena final : public kernels::StackMemory {
 public:
  // Reserves `bytes` of zeroed memory from the operating system. Throws SystemError naming the size
  // when it has none to give.
  explicit Arena(int64_t bytes);

  // The same in `memory`, which is a device's: it holds `bytes`, contents unspecified, and may not
  // be touched by the host. Null: as above.
  Arena(int64_t bytes, kernels::OwnedMemory memory);

  // An arena without memory and without bound, to run a step dry: its addresses must not be read.
  static Arena Dry() { return Arena(DryTag{}); }

  ~Arena() override;
  Arena(Arena&&) = delete;
  Arena& operator=(Arena&&) = delete;

  void* Push(int64_t bytes, kernels::MemoryCategory category, std::string_view owner) override;
  Mark Top() const override { return static_cast<Mark>(entries_.size()); }
  void Release(Mark mark) override;

  bool dry() const { return mapping_ == nullptr && device_ == nullptr; }
  int64_t reserved_bytes() const { return reserved_bytes_; }
  const Ledger& ledger() const { return ledger_; }

 private:
  struct DryTag {};
  struct Entry {
    int line;
    int64_t bytes;
  };

  explicit Arena(DryTag);
  void MapHostMemory();
  char* AddressOfTop() const { return base_ + ledger_.bytes(); }
  // A sanitizer knows nothing of a device's memory.
  bool on_host() const { return mapping_ != nullptr; }

  kernels::OwnedMemory device_;
  void* mapping_ = nullptr;
  int64_t mapping_bytes_ = 0;
  char* base_;
  int64_t reserved_bytes_;
  std::vector<Entry> entries_;
  Ledger ledger_;
};

}  // namespace annulus::runtime
