#include "kernels/base/pair_counter.h"

namespace annulus::kernels {
namespace {

// More than the ring steps of any group with all its phases; a run with more starts anew.
constexpr size_t kMostRemembered = 1 << 14;

}  // namespace

PairCounter::Key PairCounter::KeyOf(const Mask& mask, const Positions& queries,
                                    const Positions& keys) {
  Key key{};
  size_t at = 0;
  for (const Positions* positions : {&queries, &keys}) {
    for (int i = 0; i < Positions::kMaxRuns; ++i) {
      const PositionRun run = i < positions->runs() ? positions->run(i) : PositionRun{};
      for (int64_t field : {run.start, run.stride, run.count}) key[at++] = field;
    }
  }
  for (int64_t field :
       {static_cast<int64_t>(mask.kind), mask.length, mask.window, mask.blocks.block_tokens,
        mask.blocks.window_blocks, mask.blocks.global_blocks, mask.blocks.stride_blocks,
        mask.blocks.random_blocks, static_cast<int64_t>(mask.blocks.seed)}) {
    key[at++] = field;
  }
  return key;
}

int64_t PairCounter::Count(const Mask& mask, const Positions& queries, const Positions& keys) {
  // Where documents start is not part of the key.
  if (mask.kind == MaskKind::kDocuments) return mask.CountPairs(queries, keys);
  if (counts_.size() >= kMostRemembered) counts_.clear();
  const auto [entry, is_new] = counts_.try_emplace(KeyOf(mask, queries, keys), 0);
  if (is_new) entry->second = mask.CountPairs(queries, keys);
  return entry->second;
}

}  // namespace annulus::kernels
