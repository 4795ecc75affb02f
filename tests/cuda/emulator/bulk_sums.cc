// Sums that the copy engine adds to the device's memory. Source: PTX ISA, "cp.reduce.async.bulk".
#include <algorithm>
#include <cstring>
#include <utility>

#include "tests/cuda/emulator/access.h"
#include "tests/cuda/emulator/block.h"
#include "tests/cuda/emulator/hopper.h"
#include "tests/cuda/emulator/mbarriers.h"
#include "tests/cuda/emulator/text.h"

namespace annulus::emulator {
namespace {

SharedAccess ReadOf(const PendingSum& sum) {
  return {sum.from - kSharedWindow, sum.bytes, Access::kRead, self->index, sum.at, Proxy::kAsync};
}

// CUDA lets sums of different blocks meet in any order. Here that is a race, for the result depends
// on it.
bool CheckTarget(const PendingSum& sum) {
  return CheckAccess({sum.to, sum.bytes, Access::kWrite, sum.at, -1, false});
}

void Read(PendingSum& sum) {
  if (!sum.values.empty()) return;
  sum.values.resize(sum.bytes / sizeof(float));
  std::memcpy(sum.values.data(), block->shared.data() + (sum.from - kSharedWindow), sum.bytes);
}

void Add(PendingSum& sum) {
  Read(sum);
  if (std::exchange(sum.is_added, true)) return;
  for (size_t i = 0; i < sum.values.size(); ++i) sum.to[i] += sum.values[i];
}

void EndRead(PendingSum& sum) {
  Read(sum);
  if (std::exchange(sum.is_read, true) || block->races == nullptr) return;
  block->races->EndAsync(ReadOf(sum));
}

}  // namespace

void BulkAdd(const BulkOperands& operands, Place at) {
  const InEmulator inside;
  RequireCapability(90, "cp.reduce.async.bulk", at);
  if (operands.from % 16 != 0 || operands.bytes % 16 != 0 || operands.bytes == 0 ||
      reinterpret_cast<uintptr_t>(operands.to) % 16 != 0) {
    Tell(Defect::kMemory,
         Text("sums of %u bytes from 0x%x to %p are not aligned to 16, at %s", operands.bytes,
              operands.from, static_cast<void*>(operands.to), LineOf(at).c_str()));
    return;
  }
  block->shared.At(operands.from, operands.bytes, "cp.reduce.async.bulk", at);
  if (!block->shared.Holds(operands.from, operands.bytes)) return;
  auto sum = std::make_shared<PendingSum>();
  sum->to = operands.to;
  sum->from = operands.from;
  sum->bytes = operands.bytes;
  sum->at = at;
  if (!CheckTarget(*sum)) return;
  if (block->races != nullptr) block->races->BeginAsync(ReadOf(*sum));
  if (block->EffectNow()) {
    Add(*sum);
  } else {
    block->bulk_actions.emplace_back([sum] { Add(*sum); });
  }
  self->open_sums.push_back(std::move(sum));
}

void BulkCommit() {
  const InEmulator inside;
  self->sum_groups.push_back(std::exchange(self->open_sums, {}));
}

void BulkWait(int pending, bool until_read) {
  const InEmulator inside;
  const auto kept = static_cast<size_t>(pending);
  const size_t count = self->sum_groups.size() - std::min(self->sum_groups.size(), kept);
  for (size_t g = 0; g < count; ++g) {
    for (const auto& sum : self->sum_groups[g]) {
      EndRead(*sum);
      if (until_read) continue;
      Add(*sum);
      CheckTarget(*sum);  // once more: it is now that it is known to have been written
    }
  }
  if (until_read) return;
  self->sum_groups.erase(self->sum_groups.begin(),
                         self->sum_groups.begin() + static_cast<std::ptrdiff_t>(count));
}

}  // namespace annulus::emulator
