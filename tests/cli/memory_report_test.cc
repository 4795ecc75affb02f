// The memory that a run predicts is the memory that it takes, category by category and to the byte,
// and `annulus plan` predicts the same.
#include <gmock/gmock.h>

#include "tests/cli/annulus_command.h"

namespace annulus::runtime {
namespace {

using nlohmann::json;

class MemoryReport : public testing::TestWithParam<const char*> {};

TEST_P(MemoryReport, PredictedMeasuredAndPlannedAgree) {
  const TempDir dir;
  const Arguments options = TinyModel(GetParam());
  const Outcome trained = RunAnnulus(Arguments{"train", "--output", dir.At("run")} + options);
  ASSERT_EQ(trained.status, 0) << trained.err;
  const Outcome planned = RunAnnulus(Arguments{"plan", "--json", dir.At("plan.json")} + options);
  ASSERT_EQ(planned.status, 0) << planned.err;

  const json ranks = ReadJson(dir.path() / "run/memory.json").at("ranks");
  const json plan = ReadJson(dir.path() / "plan.json").at("ranks");
  ASSERT_EQ(plan.size(), ranks.size());
  for (size_t r = 0; r < ranks.size(); ++r) {
    const json& rank = ranks[r];
    EXPECT_EQ(rank.at("categories"), rank.at("predicted_categories")) << "rank " << r;
    EXPECT_EQ(rank.at("peak_bytes"), rank.at("predicted_peak_bytes"));
    EXPECT_EQ(rank.at("peak_activation_bytes"), rank.at("predicted_peak_activation_bytes"));
    EXPECT_GT(rank.at("peak_activation_bytes"), 0);
    for (const char* key : {"predicted_categories", "predicted_peak_bytes",
                            "predicted_peak_activation_bytes", "score_matrix_bytes"}) {
      EXPECT_EQ(plan[r].at(key), rank.at(key)) << "rank " << r;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, MemoryReport,
    testing::Values(
        "", "--memory.recompute mlp", "--memory.recompute block",
        "--ranks 2 --train.sequence_length 61", "--ranks 4 --train.sequence_length 77",
        "--ranks 2 --parallel.partition striped --train.sequence_length 61 "
        "--memory.recompute mlp",
        "--ranks 4 --parallel.partition contiguous --train.sequence_length 77 "
        "--memory.recompute block",
        "--ranks 2 --model.num_attention_heads 4 --model.num_key_value_heads 1",
        "--ranks 2 --train.global_batch_size 6 --train.micro_batch_size 3 "
        "--train.sequence_length 61",
        "--ranks 2 --train.context_schedule 16:1,32:1,64:2 --train.steps 4",
        "--ranks 4 --parallel.context_size 2 --train.global_batch_size 4 "
        "--train.micro_batch_size 2 --memory.recompute block",
        "--ranks 3 --parallel.context_size 1 --train.global_batch_size 3 "
        "--train.sequence_length 61",
        "--ranks 2 --attention.mask documents --train.global_batch_size 6 "
        "--train.micro_batch_size 3 --train.sequence_length 61",
        "--ranks 2 --attention.mask block-sparse --attention.pattern bigbird "
        "--attention.block_tokens 8 --train.context_schedule 32:1,64:1",
        "--ranks 3 --attention.mask window --attention.window 20 --device.threads 2",
        "--model.dtype bf16", "--model.dtype bf16 --ranks 3 --train.sequence_length 61",
        "--model.dtype bf16 --ranks 2 --memory.recompute block --model.num_attention_heads 4 "
        "--model.num_key_value_heads 1 --train.context_schedule 16:1,32:1,64:2 --train.steps 4",
        "--model.tie_word_embeddings true --model.head_dim 6 --memory.loss_chunk_tokens 7 "
        "--ranks 2"));

}  // namespace
}  // namespace annulus::runtime
