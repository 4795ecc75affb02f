#include "runtime/bench/bench_mask.h"

#include <random>

#include "runtime/config/attention_mask.h"

namespace annulus::runtime {
namespace {

using kernels::MaskKind;

std::vector<int64_t> DocumentStarts(int64_t n, int64_t mean_length) {
  std::mt19937_64 bits(1);
  std::vector<int64_t> starts;
  const auto range = static_cast<uint64_t>(2 * mean_length - 1);
  for (int64_t start = 0; start < n; start += 1 + static_cast<int64_t>(bits() % range)) {
    starts.push_back(start);
  }
  return starts;
}

// The block-sparse mask that attention.pattern means.
kernels::Mask PatternMask(BlockPatternName pattern, int64_t n) {
  AttentionOptions options{.mask = MaskKind::kBlockSparse, .pattern = pattern};
  ResolveAttention(options);
  return MaskOf(options, n);
}

}  // namespace

std::string_view NameOf(BenchMask mask) {
  switch (mask) {
    case BenchMask::kFull:
      return "full";
    case BenchMask::kCausal:
      return "causal";
    case BenchMask::kWindow:
      return "window";
    case BenchMask::kDocuments:
      return "documents";
    case BenchMask::kLongformer:
      return "longformer";
    case BenchMask::kBigBird:
      return "bigbird";
    case BenchMask::kStrided:
      return "strided";
  }
  return "?";
}

OwnedMask MakeBenchMask(BenchMask kind, int64_t n, int64_t window) {
  OwnedMask owned;
  kernels::Mask& mask = owned.mask;
  mask.length = n;
  switch (kind) {
    case BenchMask::kFull:
      mask.kind = MaskKind::kFull;
      break;
    case BenchMask::kCausal:
      mask.kind = MaskKind::kCausal;
      break;
    case BenchMask::kWindow:
      mask.kind = MaskKind::kWindow;
      mask.window = window;
      break;
    case BenchMask::kDocuments:
      mask.kind = MaskKind::kDocuments;
      owned.document_starts = DocumentStarts(n, window);
      mask.document_starts = owned.document_starts;
      break;
    case BenchMask::kLongformer:
      mask = PatternMask(BlockPatternName::kLongformer, n);
      break;
    case BenchMask::kBigBird:
      mask = PatternMask(BlockPatternName::kBigBird, n);
      break;
    case BenchMask::kStrided:
      mask = PatternMask(BlockPatternName::kStrided, n);
      break;
  }
  return owned;
}

int64_t AllowedPairs(const kernels::Mask& mask) {
  const kernels::Positions all({.start = 0, .stride = 1, .count = mask.length});
  return mask.CountPairs(all, all);
}

}  // namespace annulus::runtime
