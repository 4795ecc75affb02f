// Benchmarks of ranks as threads, calibration, and plans by a machine file.
#include "tests/cli/bench_ranks.h"

namespace annulus::runtime {
namespace {

using nlohmann::json;
using testing::HasSubstr;

const std::string kH100 = std::string(ANNULUS_MACHINES) + "/h100-sxm.ini";

TEST(BenchOverThreads, RingAndScalingRun) { ExpectRingAndScalingRun({"--ranks", "2"}, {}); }

// The file that calibration writes is one that plan predicts by.
TEST(BenchOverThreads, ACalibratedMachineServesAPlan) {
  const TempDir dir;
  const std::string machine = dir.At("here.ini"), file = dir.At("plan.json");
  const Outcome calibrated = RunAnnulus(Words(
      "bench calibrate --ranks 2 --device.threads 1 --bench.repetitions 1 --bench.head_dim 16 "
      "--machine " +
      machine));
  ASSERT_EQ(calibrated.status, 0) << calibrated.err;
  EXPECT_THAT(calibrated.out, HasSubstr("within_node"));
  const Outcome planned = RunAnnulus(
      Words("plan --ranks 2 --model.vocab_size 256 --train.sequence_length 1000 --json " + file +
            " --machine " + machine));
  ASSERT_EQ(planned.status, 0) << planned.err;
  const json plan = ReadJson(file);
  EXPECT_EQ(plan.at("predicted_by"), "machine");
  EXPECT_GT(plan.at("predicted_step_ms"), 0);
  EXPECT_GT(plan.at("predicted_exposed_comm_ms"), 0);
}

constexpr const char* kLlama8b =
    "--model.vocab_size 128256 --model.hidden_size 4096 --model.num_hidden_layers 32 "
    "--model.num_attention_heads 32 --model.num_key_value_heads 8 "
    "--model.intermediate_size 14336 --model.dtype bf16 --memory.recompute block ";

TEST(PlanByMachine, TimesAreThoseOfTheClasses) {
  const TempDir dir;
  const std::string file = dir.At("plan.json");
  const Outcome outcome = RunAnnulus(Words("plan --ranks 8 --train.sequence_length 65536 --json " +
                                           file + " --machine " + kH100 + " " + kLlama8b));
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("predicted step"));
  EXPECT_THAT(outcome.out, HasSubstr("NVIDIA H100"));
  const json plan = ReadJson(file);
  const json& classes = plan.at("predicted_compute_ms");
  double sum = plan.at("predicted_exposed_comm_ms");
  for (const char* name : {"matmul", "attention_forward", "attention_backward", "elementwise"}) {
    EXPECT_GT(classes.at(name), 0) << name;
    sum += classes.at(name).get<double>();
  }
  sum += classes.at("copies").get<double>();
  EXPECT_NEAR(plan.at("predicted_step_ms"), sum, 1e-6 * sum);
  EXPECT_EQ(plan.at("phases").at(0).at("predicted_step_ms"), plan.at("predicted_step_ms"));
}

TEST(PlanByMachine, ReachesAThousandRanks) {
  const TempDir dir;
  const std::string file = dir.At("plan.json");
  const Outcome outcome =
      RunAnnulus(Words("plan --ranks 1024 --train.sequence_length 8388608 --json " + file +
                       " --machine " + kH100 + " " + kLlama8b));
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  const json plan = ReadJson(file);
  EXPECT_EQ(plan.at("ranks").size(), 1024u);
  EXPECT_EQ(plan.at("ranks").at(1000).at("rank"), 1000);
  EXPECT_GT(plan.at("predicted_step_ms"), 0);
  EXPECT_GT(plan.at("flops"), 1e19);  // more than 64 bits count
  EXPECT_NEAR(plan.at("phases").at(0).at("balance"), 1, 1e-3);
}

TEST(PlanByMachine, MistakesAreTheUsers) {
  const TempDir dir;
  EXPECT_THAT(ComplaintOf(RunAnnulus(Words("plan --model.vocab_size 256 --machine no.ini"))),
              HasSubstr("machine: cannot read no.ini"));
  EXPECT_THAT(ComplaintOf(RunAnnulus(Words("plan --model.vocab_size 256 --machine " + kH100))),
              HasSubstr("no rate of matmul in f32: add a section [matmul f32]"));
  EXPECT_THAT(ComplaintOf(RunAnnulus(Words("bench ring --bench.dry true --ranks 4"))),
              HasSubstr("--machine FILE"));
}

}  // namespace
}  // namespace annulus::runtime
