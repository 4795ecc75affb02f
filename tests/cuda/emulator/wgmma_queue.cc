#include "tests/cuda/emulator/wgmma_queue.h"

#include <cstring>
#include <utility>

#include "tests/cuda/emulator/block.h"
#include "tests/cuda/emulator/text.h"

namespace annulus::emulator {

// The accumulators of a product. With the first that is under way their registers are taken away.
WgmmaQueue::Accumulators& WgmmaQueue::Take(const WgmmaProduct& product, Place at) {
  const auto [found, is_new] = accumulators_.try_emplace(product.registers[0]);
  Accumulators& taken = found->second;
  if (!is_new) return taken;
  if (!fenced_) {
    Tell(Defect::kAsync,
         "no wgmma.fence is between the registers' last use and wgmma, at " + LineOf(at));
  }
  taken.registers = product.registers;
  taken.count = product.count;
  const auto count = static_cast<size_t>(product.count);
  taken.values.resize(32 * count);
  for (size_t lane = 0; lane < 32; ++lane) {
    std::memcpy(&taken.values[lane * count], product.registers[lane], count * sizeof(float));
    std::memset(product.registers[lane], 0xff, count * sizeof(float));
  }
  return taken;
}

void WgmmaQueue::Issue(WgmmaProduct product, Place at) {
  Accumulators& accumulators = Take(product, at);
  sequence_ = (sequence_ ^ product.fingerprint) * 0x100000001b3u;
  if (block->races != nullptr) {
    for (const SharedAccess& read : product.reads) block->races->BeginAsync(read);
  }
  ++accumulators.pending;
  if (accumulators.queued == 0 && block->EffectNow()) {
    std::exchange(product.act, nullptr)(accumulators.values.data());
  } else {
    ++accumulators.queued;
  }
  open_.push_back(std::move(product));
}

void WgmmaQueue::Commit() { groups_.push_back(std::exchange(open_, {})); }

void WgmmaQueue::Wait(int pending) {
  while (static_cast<int>(groups_.size()) > pending) {
    for (WgmmaProduct& product : groups_.front()) Retire(product);
    groups_.pop_front();
  }
  fenced_ = false;
}

void WgmmaQueue::Retire(WgmmaProduct& product) {
  const auto found = accumulators_.find(product.registers[0]);
  Accumulators& accumulators = found->second;
  if (product.act) {
    product.act(accumulators.values.data());
    --accumulators.queued;
  }
  if (block->races != nullptr) {
    for (const SharedAccess& read : product.reads) block->races->EndAsync(read);
  }
  if (--accumulators.pending > 0) return;
  const auto count = static_cast<size_t>(accumulators.count);
  for (size_t lane = 0; lane < 32; ++lane) {
    std::memcpy(accumulators.registers[lane], &accumulators.values[lane * count],
                count * sizeof(float));
  }
  accumulators_.erase(found);
}

void WgmmaQueue::CheckExit() const {
  if (accumulators_.empty()) return;
  Tell(Defect::kAsync, "a warp exits with a wgmma that it did not wait for");
}

void CheckWgmmaSequences() {
  for (size_t first = 0; first < block->warps.size(); first += 4) {
    uint64_t expected = 0;
    for (size_t w = first; w < first + 4 && w < block->warps.size(); ++w) {
      const WgmmaQueue* queue = block->warps[w].wgmma.get();
      const uint64_t sequence = queue == nullptr ? 0 : queue->sequence();
      if (w == first) expected = sequence;
      if (sequence == expected) continue;
      Tell(Defect::kDivergence,
           Text("warps %zu and %zu of a warpgroup have issued different wgmma", first, w));
      return;
    }
  }
}

}  // namespace annulus::emulator
