#include "runtime/config/attention_mask.h"

#include <array>
#include <string_view>

#include "kernels/base/error.h"

namespace annulus::runtime {
namespace {

using kernels::MaskKind;

constexpr int64_t kBlockTokens = 64;

// What a pattern has, in blocks: a query's block and those before it, the first blocks of the
// sequence, those at every multiple of a distance, and so many drawn at random.
struct PatternBlocks {
  BlockPatternName pattern;
  std::string_view name;
  int64_t window;
  int64_t global;
  int64_t stride;
  int64_t random;
};

// Longformer (Beltagy et al. 2020): a window of 512 tokens. BigBird (Zaheer et al. 2020): blocks of
// 64 with a window of 3, of which the causal order leaves 2. Sparse Transformer (Child et al.
// 2019): as far back at every step as is seen from one step to the next.
constexpr std::array<PatternBlocks, 4> kPatterns = {{
    {BlockPatternName::kCustom, "custom", 1, 0, 0, 0},
    {BlockPatternName::kLongformer, "longformer", 8, 1, 0, 0},
    {BlockPatternName::kBigBird, "bigbird", 2, 2, 0, 3},
    {BlockPatternName::kStrided, "strided", 8, 0, 8, 0},
}};

const PatternBlocks& BlocksOf(BlockPatternName pattern) {
  for (const PatternBlocks& blocks : kPatterns) {
    if (blocks.pattern == pattern) return blocks;
  }
  throw InternalError("a block pattern that has no blocks");
}

// The options that say how many blocks a query attends to, beside what the pattern has.
struct BlockOption {
  std::string_view name;
  int64_t AttentionOptions::*given;
  int64_t PatternBlocks::*preset;
};
constexpr std::array<BlockOption, 4> kBlockOptions = {{
    {"window_blocks", &AttentionOptions::window_blocks, &PatternBlocks::window},
    {"global_blocks", &AttentionOptions::global_blocks, &PatternBlocks::global},
    {"stride_blocks", &AttentionOptions::stride_blocks, &PatternBlocks::stride},
    {"random_blocks", &AttentionOptions::random_blocks, &PatternBlocks::random},
}};

template <class Value>
void RefuseUnlessBlockSparse(std::string_view name, const Value& value) {
  if (value == Value{}) return;
  ThrowConfigError(
      "attention.{} does nothing without mask=block-sparse; set the mask or leave it out", name);
}

void ResolveBlocks(AttentionOptions& attention) {
  const PatternBlocks& pattern = BlocksOf(attention.pattern);
  const bool custom = attention.pattern == BlockPatternName::kCustom;
  if (attention.block_tokens == 0) attention.block_tokens = kBlockTokens;
  for (const BlockOption& option : kBlockOptions) {
    int64_t& given = attention.*option.given;
    const int64_t preset = pattern.*option.preset;
    if (given != 0 && preset == 0 && !custom) {
      ThrowConfigError(
          "attention.{} = {} is no part of pattern={}; leave it out, or set pattern=custom and "
          "every number of blocks",
          option.name, given, pattern.name);
    }
    if (given == 0) given = preset;
  }
  if (attention.block_seed != 0 && attention.random_blocks == 0) {
    ThrowConfigError(
        "attention.block_seed = {} draws nothing without random blocks; set random_blocks or "
        "pattern=bigbird, or leave it out",
        attention.block_seed);
  }
}

}  // namespace

void ResolveAttention(AttentionOptions& attention) {
  const bool window = attention.mask == MaskKind::kWindow;
  if (window && attention.window == 0) {
    ThrowConfigError("attention.mask = window needs attention.window, of 1 token or more");
  }
  if (!window && attention.window != 0) {
    ThrowConfigError(
        "attention.window = {} does nothing without mask=window; set the mask or leave it out{}",
        attention.window,
        attention.mask == MaskKind::kBlockSparse ? " (a block-sparse mask has window_blocks)" : "");
  }
  if (attention.mask == MaskKind::kBlockSparse) return ResolveBlocks(attention);
  RefuseUnlessBlockSparse("pattern", attention.pattern);
  RefuseUnlessBlockSparse("block_tokens", attention.block_tokens);
  for (const BlockOption& option : kBlockOptions) {
    RefuseUnlessBlockSparse(option.name, attention.*option.given);
  }
  RefuseUnlessBlockSparse("block_seed", attention.block_seed);
}

kernels::Mask MaskOf(const AttentionOptions& attention, int64_t length) {
  kernels::Mask mask{.kind = attention.mask, .length = length, .window = attention.window};
  if (attention.mask == MaskKind::kBlockSparse) {
    mask.blocks = {.block_tokens = attention.block_tokens,
                   .window_blocks = attention.window_blocks,
                   .global_blocks = attention.global_blocks,
                   .stride_blocks = attention.stride_blocks,
                   .random_blocks = attention.random_blocks,
                   .seed = attention.block_seed};
  }
  return mask;
}

std::string DescribeMask(const AttentionOptions& attention) {
  std::string text(NameOf(attention.mask));
  if (attention.mask == MaskKind::kWindow) text += fmt::format(" of {} tokens", attention.window);
  if (attention.mask != MaskKind::kBlockSparse) return text;
  text += fmt::format(": {} in blocks of {} tokens, window {}", BlocksOf(attention.pattern).name,
                      attention.block_tokens, attention.window_blocks);
  if (attention.global_blocks > 0) text += fmt::format(", global {}", attention.global_blocks);
  if (attention.stride_blocks > 0) text += fmt::format(", stride {}", attention.stride_blocks);
  if (attention.random_blocks > 0) {
    text += fmt::format(", random {} (seed {})", attention.random_blocks, attention.block_seed);
  }
  return text;
}

}  // namespace annulus::runtime
