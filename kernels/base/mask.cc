#include "kernels/base/mask.h"

#include <algorithm>
#include <array>

namespace annulus::kernels {
namespace {

// Index of the first entry of `run` at or past `position`; at least run.count if there is none.
int64_t LowerBound(const PositionRun& run, int64_t position) {
  if (position <= run.start) return 0;
  return (position - run.start + run.stride - 1) / run.stride;
}

// The entries of `run` that are not padding.
PositionRun Real(const PositionRun& run, int64_t length) {
  return run.Sub(0, std::min(run.count, LowerBound(run, length)));
}

// Calls visit(block, begin, end) for each block of `block_tokens` positions that holds some entry
// of `run`, and the entries [begin, end) it holds; ends early when `visit` answers false.
template <class Visit>
void ForEachBlock(const PositionRun& run, int64_t block_tokens, Visit visit) {
  for (int64_t begin = 0; begin < run.count;) {
    const int64_t block = run.at(begin) / block_tokens;
    const int64_t end = std::min(run.count, LowerBound(run, (block + 1) * block_tokens));
    if (!visit(block, begin, end)) return;
    begin = end;
  }
}

// Whether some query may attend to some key, as far as the key ranges say. Both ends of the ranges
// ascend with the query, so a merge that leaps decides; with strides no longer than the window it
// takes two or three steps, and never more than one per query and key.
bool AnyInRange(const Mask& mask, const PositionRun& queries, const PositionRun& keys) {
  int64_t i = 0, j = 0;
  while (i < queries.count && j < keys.count) {
    const Mask::KeyRange range = mask.Keys(queries.at(i));
    const int64_t key = keys.at(j);
    if (key > range.last) {
      i = std::max(i + 1, LowerBound(queries, key));
    } else if (key < range.first) {
      j = LowerBound(keys, range.first);
    } else {
      return true;
    }
  }
  return false;
}

// Requires that no query is padding and that there is one.
bool AllInRange(const Mask& mask, const PositionRun& queries, const PositionRun& keys) {
  return mask.Keys(queries.last()).first <= keys.start &&
         keys.last() <= mask.Keys(queries.start).last;
}

// Bit i of bits[j]: key j lies in the range of query i. Both ends of the ranges ascend with the
// query, so the queries a key serves are [begin, end), and both of these ascend with the key.
void FillRangeBits(const Mask& mask, const PositionRun& queries, const PositionRun& keys,
                   uint64_t* bits) {
  std::array<Mask::KeyRange, 64> ranges;
  const int64_t count = queries.count;
  for (int64_t i = 0; i < count; ++i) {
    ranges[static_cast<size_t>(i)] = mask.Keys(queries.at(i));
  }
  int64_t begin = 0, end = 0;
  for (int64_t j = 0; j < keys.count; ++j) {
    const int64_t key = keys.at(j);
    while (begin < count && ranges[static_cast<size_t>(begin)].last < key) ++begin;
    while (end < count && ranges[static_cast<size_t>(end)].first <= key) ++end;
    bits[j] = LowBits(end) & ~LowBits(begin);
  }
}

// Coverage by a block pattern where the causal order allows `in_range` of the pairs.
Coverage ClassifyBlocks(const BlockPattern& blocks, const PositionRun& queries,
                        const PositionRun& keys, Coverage in_range) {
  bool selected = false, dropped = in_range == Coverage::kPartial;
  ForEachBlock(queries, blocks.block_tokens, [&](int64_t query_block, int64_t, int64_t) {
    ForEachBlock(keys, blocks.block_tokens, [&](int64_t key_block, int64_t, int64_t) {
      if (key_block > query_block) return false;
      const bool selects = blocks.Selects(query_block, key_block);
      selected = selected || selects;
      dropped = dropped || !selects;
      return !(selected && dropped);
    });
    return !(selected && dropped);
  });
  if (!selected) return Coverage::kSkip;
  return dropped ? Coverage::kPartial : Coverage::kWhole;
}

int64_t PairsInRange(const Mask& mask, const PositionRun& queries, const PositionRun& keys) {
  int64_t pairs = 0;
  for (int64_t i = 0; i < queries.count; ++i) {
    const Mask::KeyRange range = mask.Keys(queries.at(i));
    const int64_t end = std::min(keys.count, LowerBound(keys, range.last + 1));
    pairs += std::max<int64_t>(0, end - LowerBound(keys, range.first));
  }
  return pairs;
}

int64_t PairsInBlocks(const Mask& mask, const PositionRun& queries, const PositionRun& keys) {
  int64_t pairs = 0;
  const BlockPattern& blocks = mask.blocks;
  ForEachBlock(queries, blocks.block_tokens, [&](int64_t query_block, int64_t q0, int64_t q1) {
    ForEachBlock(keys, blocks.block_tokens, [&](int64_t key_block, int64_t k0, int64_t k1) {
      if (key_block > query_block) return false;
      if (blocks.Selects(query_block, key_block)) {
        pairs += key_block < query_block
                     ? (q1 - q0) * (k1 - k0)
                     : PairsInRange(mask, queries.Sub(q0, q1 - q0), keys.Sub(k0, k1 - k0));
      }
      return true;
    });
    return true;
  });
  return pairs;
}

}  // namespace

std::string_view NameOf(MaskKind kind) {
  switch (kind) {
    case MaskKind::kFull:
      return "full";
    case MaskKind::kCausal:
      return "causal";
    case MaskKind::kWindow:
      return "window";
    case MaskKind::kDocuments:
      return "documents";
    case MaskKind::kBlockSparse:
      return "block-sparse";
  }
  return "?";
}

Mask::KeyRange Mask::Keys(int64_t query) const {
  if (query >= length) return {};
  switch (kind) {
    case MaskKind::kFull:
      return {0, length - 1};
    case MaskKind::kWindow:
      return {std::max<int64_t>(0, query - window + 1), query};
    case MaskKind::kDocuments: {
      const auto next = std::upper_bound(document_starts.begin(), document_starts.end(), query);
      return {next == document_starts.begin() ? 0 : *(next - 1), query};
    }
    case MaskKind::kCausal:
    case MaskKind::kBlockSparse:
      return {0, query};
  }
  return {};
}

bool Mask::Allows(int64_t query, int64_t key) const {
  const KeyRange range = Keys(query);
  if (key < range.first || key > range.last) return false;
  return kind != MaskKind::kBlockSparse ||
         blocks.Selects(query / blocks.block_tokens, key / blocks.block_tokens);
}

Coverage Mask::Classify(const PositionRun& queries, const PositionRun& keys) const {
  const PositionRun real = Real(queries, length);
  if (!AnyInRange(*this, real, keys)) return Coverage::kSkip;
  const bool whole = real.count == queries.count && AllInRange(*this, real, keys);
  const Coverage in_range = whole ? Coverage::kWhole : Coverage::kPartial;
  return kind == MaskKind::kBlockSparse ? ClassifyBlocks(blocks, real, keys, in_range) : in_range;
}

void Mask::FillBits(const PositionRun& queries, const PositionRun& keys, uint64_t* bits) const {
  Check(queries.count <= 64, "{} queries do not fit 64 bits", queries.count);
  const PositionRun real = Real(queries, length);
  if (real.count > 0 && AllInRange(*this, real, keys)) {
    std::fill_n(bits, keys.count, LowBits(real.count));
  } else {
    FillRangeBits(*this, real, keys, bits);
  }
  if (kind != MaskKind::kBlockSparse) return;

  ForEachBlock(keys, blocks.block_tokens, [&](int64_t key_block, int64_t k0, int64_t k1) {
    uint64_t dropped = 0;
    ForEachBlock(queries, blocks.block_tokens, [&](int64_t query_block, int64_t q0, int64_t q1) {
      if (!blocks.Selects(query_block, key_block)) dropped |= LowBits(q1) & ~LowBits(q0);
      return true;
    });
    if (dropped == 0) return true;
    for (int64_t j = k0; j < k1; ++j) bits[j] &= ~dropped;
    return true;
  });
}

int64_t Mask::CountPairs(const Positions& queries, const Positions& keys) const {
  int64_t pairs = 0;
  for (int q = 0; q < queries.runs(); ++q) {
    const PositionRun real = Real(queries.run(q), length);
    for (int k = 0; k < keys.runs(); ++k) {
      const Coverage coverage = Classify(real, keys.run(k));
      if (coverage == Coverage::kSkip) continue;
      if (coverage == Coverage::kWhole) {
        pairs += real.count * keys.run(k).count;
        continue;
      }
      pairs += kind == MaskKind::kBlockSparse ? PairsInBlocks(*this, real, keys.run(k))
                                              : PairsInRange(*this, real, keys.run(k));
    }
  }
  return pairs;
}

}  // namespace annulus::kernels
