// `annulus check` on ranks as threads.
#include <gmock/gmock.h>

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

}  // namespace
}  // namespace annulus::runtime
