// `annulus check` on ranks as threads.
#include <gmock/gmock.h>

#include <algorithm>

#include "tests/cli/annulus_command.h"

namespace annulus::runtime {
namespace {

using testing::HasSubstr;

TEST(Check, ParityOfThreeRanksOnAnOddLength) {
  const TempDir dir;
  const std::string file = dir.At("check.json");
  const Outcome outcome =
      RunAnnulus(Arguments{"check", "--json", file} +
                 TinyModel("--ranks 3 --train.sequence_length 61 --model.num_attention_heads 4 "
                           "--model.num_key_value_heads 2"));
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("passed"));
  const nlohmann::json checks = ReadJson(file).at("checks");
  ASSERT_EQ(checks.size(), 1u);
  const nlohmann::json& check = checks[0];
  EXPECT_EQ(check.at("ranks"), 3);
  EXPECT_EQ(check.at("sequence_length"), 61);
  EXPECT_EQ(check.at("passed"), true);
  EXPECT_GT(check.at("loss"), 0.0);
  EXPECT_LE(check.at("worst_relative_error"), check.at("tolerance"));
  // Every parameter of two layers, and the three outside of them.
  EXPECT_EQ(check.at("gradient_relative_error").size(), 2u * 9u + 3u);
}

// Where a model of bf16 is allowed more, it is told how much, and it stays a matter of roundings.
TEST(Check, ParityOfABf16Model) {
  const TempDir dir;
  const std::string file = dir.At("check.json");
  const Outcome outcome =
      RunAnnulus(Arguments{"check", "--json", file} +
                 TinyModel("--ranks 3 --train.sequence_length 61 --model.dtype bf16"));
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  const nlohmann::json check = ReadJson(file).at("checks")[0];
  EXPECT_EQ(check.at("passed"), true);
  EXPECT_LE(check.at("worst_relative_error"), check.at("tolerance"));
  EXPECT_GT(check.at("tolerance"), 1e-4);
  EXPECT_LT(check.at("tolerance"), 0.1);
}

TEST(Check, EveryPhaseOfASchedule) {
  const TempDir dir;
  const std::string file = dir.At("check.json");
  const Outcome outcome = RunAnnulus(
      Arguments{"check", "--json", file} +
      TinyModel("--ranks 2 --train.context_schedule 16:1,64:1 --memory.recompute block"));
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(ReadJson(file).at("checks").size(), 2u);
}

class CheckMask : public testing::TestWithParam<const char*> {};

// Text of many short files, so that there are documents to keep apart.
TEST_P(CheckMask, ParityUnderEveryMaskAndPartition) {
  const TempDir dir;
  for (int i = 0; i < 60; ++i) {
    std::string text(static_cast<size_t>(5 + i * 7 % 41), ' ');
    for (size_t c = 0; c < text.size(); ++c) text[c] = static_cast<char>('a' + c * c % 23);
    dir.Write("text/" + std::to_string(i), text);
  }
  for (const char* partition : {"contiguous", "zigzag", "striped"}) {
    Arguments options =
        TinyModel(std::string("--train.sequence_length 101 --train.global_batch_size 2 "
                              "--train.micro_batch_size 2 --ranks 3 --model.vocab_size 256 ") +
                  "--parallel.partition " + partition + " --attention.mask " + GetParam());
    *(std::find(options.begin(), options.end(), "--data.synthetic")) = "--data.path";
    *(std::find(options.begin(), options.end(), "recall")) = dir.At("text");
    const Outcome outcome = RunAnnulus(Arguments{"check"} + options);
    EXPECT_EQ(outcome.status, 0) << outcome.err << outcome.out;
    EXPECT_THAT(outcome.out, HasSubstr("passed"));
  }
}

INSTANTIATE_TEST_SUITE_P(All, CheckMask,
                         testing::Values("causal", "full", "window --attention.window 30",
                                         "documents",
                                         "block-sparse --attention.block_tokens 8 "
                                         "--attention.pattern longformer",
                                         "block-sparse --attention.block_tokens 8 "
                                         "--attention.pattern bigbird --attention.block_seed 5",
                                         "block-sparse --attention.block_tokens 8 "
                                         "--attention.pattern strided --attention.window_blocks 1 "
                                         "--attention.stride_blocks 3"));

}  // namespace
}  // namespace annulus::runtime
