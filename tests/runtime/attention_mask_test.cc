// What section [attention] accepts and the mask that it means.
#include "runtime/config/attention_mask.h"

#include <gtest/gtest.h>

#include "tests/runtime/message_of.h"

namespace annulus::runtime {
namespace {

using kernels::MaskKind;

std::string ErrorOf(AttentionOptions attention) {
  return MessageOf([&] { ResolveAttention(attention); });
}

AttentionOptions BlockSparse(BlockPatternName pattern = BlockPatternName::kCustom) {
  return {.mask = MaskKind::kBlockSparse, .pattern = pattern};
}

AttentionOptions Resolved(AttentionOptions attention) {
  ResolveAttention(attention);
  const AttentionOptions once = attention;
  ResolveAttention(attention);
  EXPECT_EQ(attention, once);
  return attention;
}

TEST(AttentionMaskTest, WindowAndMaskBelongTogether) {
  EXPECT_EQ(ErrorOf({.mask = MaskKind::kWindow}),
            "attention.mask = window needs attention.window, of 1 token or more");
  EXPECT_EQ(ErrorOf({.window = 128}),
            "attention.window = 128 does nothing without mask=window; set the mask or leave it "
            "out");
  EXPECT_EQ(ErrorOf({.mask = MaskKind::kDocuments, .window = 128}),
            "attention.window = 128 does nothing without mask=window; set the mask or leave it "
            "out");
  AttentionOptions both = BlockSparse();
  both.window = 128;
  EXPECT_EQ(ErrorOf(both),
            "attention.window = 128 does nothing without mask=window; set the mask or leave it out "
            "(a block-sparse mask has window_blocks)");
  const AttentionOptions window{.mask = MaskKind::kWindow, .window = 128};
  EXPECT_EQ(Resolved(window), window);
}

TEST(AttentionMaskTest, BlocksBelongToBlockSparse) {
  const auto complaint = [](const char* option) {
    return fmt::format(
        "attention.{} does nothing without mask=block-sparse; set the mask or leave it out",
        option);
  };
  EXPECT_EQ(ErrorOf({.pattern = BlockPatternName::kBigBird}), complaint("pattern"));
  EXPECT_EQ(ErrorOf({.block_tokens = 64}), complaint("block_tokens"));
  EXPECT_EQ(ErrorOf({.window_blocks = 1}), complaint("window_blocks"));
  EXPECT_EQ(ErrorOf({.global_blocks = 1}), complaint("global_blocks"));
  EXPECT_EQ(ErrorOf({.stride_blocks = 1}), complaint("stride_blocks"));
  EXPECT_EQ(ErrorOf({.random_blocks = 1}), complaint("random_blocks"));
  EXPECT_EQ(ErrorOf({.block_seed = 1}), complaint("block_seed"));
}

TEST(AttentionMaskTest, PatternsFillWhatIsNotSaid) {
  const kernels::Mask custom = MaskOf(Resolved(BlockSparse()), 1000);
  EXPECT_EQ(custom.kind, MaskKind::kBlockSparse);
  EXPECT_EQ(custom.length, 1000);
  EXPECT_EQ(custom.blocks.block_tokens, 64);
  EXPECT_EQ(custom.blocks.window_blocks, 1);
  EXPECT_EQ(custom.blocks.global_blocks + custom.blocks.stride_blocks, 0);
  EXPECT_EQ(custom.blocks.random_blocks, 0);

  AttentionOptions bigbird = BlockSparse(BlockPatternName::kBigBird);
  bigbird.block_tokens = 16;
  bigbird.random_blocks = 5;
  bigbird.block_seed = 9;
  const kernels::BlockPattern blocks = MaskOf(Resolved(bigbird), 1000).blocks;
  EXPECT_EQ(blocks.block_tokens, 16);
  EXPECT_EQ(blocks.window_blocks, 2);
  EXPECT_EQ(blocks.global_blocks, 2);
  EXPECT_EQ(blocks.stride_blocks, 0);
  EXPECT_EQ(blocks.random_blocks, 5);
  EXPECT_EQ(blocks.seed, 9u);
}

TEST(AttentionMaskTest, PatternsRefuseWhatTheyDoNotHave) {
  AttentionOptions longformer = BlockSparse(BlockPatternName::kLongformer);
  longformer.random_blocks = 3;
  EXPECT_EQ(ErrorOf(longformer),
            "attention.random_blocks = 3 is no part of pattern=longformer; leave it out, or set "
            "pattern=custom and every number of blocks");
  AttentionOptions strided = BlockSparse(BlockPatternName::kStrided);
  strided.global_blocks = 1;
  EXPECT_EQ(ErrorOf(strided),
            "attention.global_blocks = 1 is no part of pattern=strided; leave it out, or set "
            "pattern=custom and every number of blocks");
  strided.pattern = BlockPatternName::kCustom;
  EXPECT_EQ(Resolved(strided).global_blocks, 1);
}

TEST(AttentionMaskTest, ASeedNeedsSomethingToDraw) {
  AttentionOptions seeded = BlockSparse();
  seeded.block_seed = 4;
  EXPECT_EQ(ErrorOf(seeded),
            "attention.block_seed = 4 draws nothing without random blocks; set random_blocks or "
            "pattern=bigbird, or leave it out");
}

TEST(AttentionMaskTest, DescribesWhatItMeans) {
  EXPECT_EQ(DescribeMask({}), "causal");
  EXPECT_EQ(DescribeMask({.mask = MaskKind::kWindow, .window = 77}), "window of 77 tokens");
  EXPECT_EQ(DescribeMask(Resolved(BlockSparse(BlockPatternName::kStrided))),
            "block-sparse: strided in blocks of 64 tokens, window 8, stride 8");
  EXPECT_EQ(DescribeMask(Resolved(BlockSparse(BlockPatternName::kBigBird))),
            "block-sparse: bigbird in blocks of 64 tokens, window 2, global 2, random 3 (seed 0)");
}

}  // namespace
}  // namespace annulus::runtime
