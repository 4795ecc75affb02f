#include "kernels/base/pair_counter.h"

namespace annulus::kernels {
namespace {

// More than the ring steps of any group with all its phases; a run with more starts anew.
constexpr size_t kMostRemembered = 1 << 14;

// FNV-1a, by words (Fowler, Noll & Vo): where documents start, as one number. Two micro-batches in
// 2^64 may be taken for each other.
int64_t HashOf(std::span<const int64_t> starts) {
  uint64_t hash = 0xcbf29ce484222325ULL;
  for (const int64_t start : starts) {
    hash = (hash ^ static_cast<uint64_t>(start)) * 0x100000001b3ULL;
    hash ^= hash >> 32;
  }
  return static_cast<int64_t>(hash);
}

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
        mask.blocks.random_blocks, static_cast<int64_t>(mask.blocks.seed),
        mask.kind == MaskKind::kDocuments ? HashOf(mask.document_starts) : 0}) {
    key[at++] = field;
  }
  return key;
}

int64_t PairCounter::Count(const Mask& mask, const Positions& queries, const Positions& keys) {
  if (counts_.size() >= kMostRemembered) counts_.clear();
  const auto [entry, is_new] = counts_.try_emplace(KeyOf(mask, queries, keys), 0);
  if (is_new) entry->second = mask.CountPairs(queries, keys);
  return entry->second;
}

}  // namespace annulus::kernels
