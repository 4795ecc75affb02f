#include "runtime/bench/bench_mask.h"

#include <algorithm>
#include <cmath>
#include <random>

namespace annulus::runtime {
namespace {

using kernels::BlockPattern;
using kernels::MaskKind;

constexpr int64_t kBlockTokens = 64;

std::vector<int64_t> DocumentStarts(int64_t n, int64_t mean_length) {
  std::mt19937_64 bits(1);
  std::vector<int64_t> starts;
  const auto range = static_cast<uint64_t>(2 * mean_length - 1);
  for (int64_t start = 0; start < n; start += 1 + static_cast<int64_t>(bits() % range)) {
    starts.push_back(start);
  }
  return starts;
}

int64_t Blocks(int64_t tokens) { return (tokens + kBlockTokens - 1) / kBlockTokens; }

BlockPattern PatternOf(BenchMask kind, int64_t n, int64_t window) {
  BlockPattern pattern{.block_tokens = kBlockTokens};
  if (kind == BenchMask::kLongformer) {
    pattern.window_blocks = Blocks(window);
    pattern.global_blocks = 1;
  } else if (kind == BenchMask::kBigBird) {
    pattern.window_blocks = 3;
    pattern.global_blocks = 2;
    pattern.random_blocks = 3;
  } else {
    const double root = std::sqrt(static_cast<double>(Blocks(n)));
    pattern.stride_blocks = std::max<int64_t>(2, std::llround(root));
  }
  return pattern;
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
    case BenchMask::kBigBird:
    case BenchMask::kStrided:
      mask.kind = MaskKind::kBlockSparse;
      mask.blocks = PatternOf(kind, n, window);
      break;
  }
  return owned;
}

int64_t AllowedPairs(const kernels::Mask& mask) {
  const kernels::Positions all({.start = 0, .stride = 1, .count = mask.length});
  return mask.CountPairs(all, all);
}

}  // namespace annulus::runtime
