// What it costs to ask `annulus plan`.
#include <gmock/gmock.h>

#include "tests/cli/annulus_command.h"

namespace annulus::runtime {
namespace {

// Llama 3 8B on a million tokens over 64 ranks, planned within 60 MB beside the program itself,
// which the libraries of GPUs make large where they are built in.
TEST(PlanCost, AMillionTokensArePlannedInLittleMemory) {
  const TempDir dir;
  const std::string file = dir.At("plan.json");
  const Outcome outcome = RunAnnulus(
      Arguments{"plan", "--json", file} +
      Words("--model.hidden_size 4096 --model.num_hidden_layers 32 --model.num_attention_heads 32 "
            "--model.num_key_value_heads 8 --model.intermediate_size 14336 "
            "--model.vocab_size 128256 --model.rope_theta 500000 "
            "--train.sequence_length 1048576 --memory.recompute block --ranks 64 "
            "--device.threads 1"));
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  const nlohmann::json plan = ReadJson(file);
  ASSERT_EQ(plan.at("ranks").size(), 64u);
  // 4 bytes each of 8,030,261,248 parameters.
  EXPECT_EQ(plan.at("ranks").at(0).at("predicted_categories").at("parameters"),
            4 * int64_t{8'030'261'248});
  EXPECT_GT(plan.at("flops").get<double>(), 1e18);
  const Outcome idle = RunAnnulus(Words("--help"));
  EXPECT_LT(outcome.peak_resident_bytes - idle.peak_resident_bytes, 60'000'000);
}

}  // namespace
}  // namespace annulus::runtime
