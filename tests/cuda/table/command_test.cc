// `annulus` with device.kind = cuda, on the emulator: the same runs as on cores.
#include <gmock/gmock.h>

#include <cmath>

#include "tests/cuda/table/emulated_command.h"

namespace annulus::runtime {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;

class EmulatedCommand : public testing::Test {
 protected:
  // Trains the tiny model; its directory.
  std::filesystem::path Train(const std::string& name, const std::string& options,
                              const std::string& emulator = "", const Launcher& launcher = {}) {
    const std::filesystem::path output = dir_.path() / name;
    const Outcome outcome = RunEmulated(
        Arguments{"train", "--output", output.string()} + TinyModel(options), emulator, launcher);
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    EXPECT_EQ(outcome.err, "");
    return output;
  }

  TempDir dir_;
};

void ExpectNear(const std::vector<std::string>& got, const std::vector<std::string>& expected,
                double tolerance) {
  ASSERT_EQ(got.size(), expected.size());
  ASSERT_FALSE(got.empty());
  for (size_t i = 0; i < got.size(); ++i) {
    EXPECT_NEAR(std::stod(got[i]), std::stod(expected[i]), tolerance) << i;
  }
}

// Roundings apart, which training makes more of.
TEST_F(EmulatedCommand, TrainsAsCoresDo) {
  for (const char* options : {"", "--model.dtype bf16 --model.tie_word_embeddings true",
                              "--memory.recompute block --attention.mask window "
                              "--attention.window 20 --model.num_key_value_heads 1"}) {
    const std::string steps = std::string("--train.steps 4 ") + options;
    const auto on_cores = LossesIn(Train("cores", steps + " --device.kind cpu"));
    const auto on_device = LossesIn(Train("device", steps + " --device.kind cuda"));
    ExpectNear(on_device, on_cores, steps.find("bf16") != std::string::npos ? 2e-3 : 1e-5);
    std::filesystem::remove_all(dir_.path() / "cores");
    std::filesystem::remove_all(dir_.path() / "device");
  }
}

// What no event orders, and what is not waited for, would differ.
TEST_F(EmulatedCommand, SameBitsInAnyOrderOfStreams) {
  const std::string options = "--device.kind cuda --ranks 2 --model.dtype bf16";
  const auto expected = LossesIn(Train("lazy", options));
  EXPECT_EQ(LossesIn(Train("eager", options, "streams=eager copies=eager schedule=priority")),
            expected);
  EXPECT_EQ(LossesIn(Train("random", options,
                           "streams=random copies=random schedule=random blocks=shuffled seed=5")),
            expected);
}

TEST_F(EmulatedCommand, MemoryIsWhatWasPlannedAndTheDriverSeesIt) {
  const std::string options =
      "--device.kind cuda --ranks 2 --train.sequence_length 61 --memory.recompute mlp";
  const json ranks = ReadJson(Train("run", options) / "memory.json").at("ranks");
  const Outcome planned =
      RunEmulated(Arguments{"plan", "--json", dir_.At("plan.json")} + TinyModel(options));
  ASSERT_EQ(planned.status, 0) << planned.err;
  const json plan = ReadJson(dir_.At("plan.json")).at("ranks");
  ASSERT_EQ(ranks.size(), 2u);
  for (size_t r = 0; r < ranks.size(); ++r) {
    EXPECT_EQ(ranks[r].at("categories"), ranks[r].at("predicted_categories"));
    EXPECT_EQ(ranks[r].at("categories"), plan[r].at("predicted_categories"));
    EXPECT_EQ(ranks[r].at("peak_bytes"), plan[r].at("predicted_peak_bytes"));
    // The emulator's driver hands out memory in larger pieces, and holds a context.
    EXPECT_GT(ranks[r].at("device_baseline_bytes"), 0);
    EXPECT_GE(ranks[r].at("device_unexplained_bytes"), 0);
    EXPECT_LT(ranks[r].at("device_unexplained_bytes"), 1 << 20);
  }
}

class EmulatedCheck : public EmulatedCommand, public testing::WithParamInterface<const char*> {};

TEST_P(EmulatedCheck, RanksAgreeWithOne) {
  const std::string file = dir_.At("check.json");
  const Outcome outcome = RunEmulated(
      Arguments{"check", "--json", file} +
      TinyModel(std::string("--device.kind cuda --train.sequence_length 61 ") + GetParam()));
  EXPECT_EQ(outcome.status, 0) << outcome.err << outcome.out;
  const json check = ReadJson(file).at("checks")[0];
  EXPECT_LE(check.at("worst_relative_error"), check.at("tolerance"));
}

INSTANTIATE_TEST_SUITE_P(
    All, EmulatedCheck,
    testing::Values("--ranks 2", "--ranks 3 --model.dtype bf16 --parallel.partition striped",
                    "--ranks 4 --parallel.context_size 2 --train.global_batch_size 4",
                    "--ranks 4 --parallel.strategy ulysses --model.num_attention_heads 4 "
                    "--model.num_key_value_heads 2",
                    "--ranks 2 --parallel.strategy all-gather --attention.mask block-sparse "
                    "--attention.block_tokens 8 --attention.pattern bigbird"));

TEST_F(EmulatedCommand, RanksOfANodeTakeItsDevicesInTurn) {
  const Outcome outcome =
      RunEmulated(Arguments{"train", "--output", dir_.At("run")} +
                      TinyModel("--device.kind cuda --ranks 3 --train.sequence_length 61"),
                  "devices=2");
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(outcome.out,
              AllOf(HasSubstr("cuda 0"), HasSubstr("cuda 1"), testing::Not(HasSubstr("cuda 2"))));
  EXPECT_THAT(outcome.out,
              HasSubstr("staged through the host (not NCCL: NCCL needs a GPU for every rank"));
}

TEST_F(EmulatedCommand, NcclGivesTheBitsOfStagedMessages) {
  const std::string options = "--device.kind cuda --ranks 3 --train.sequence_length 61";
  const auto expected = LossesIn(Train("staged", options + " --parallel.transport threads"));
  EXPECT_EQ(LossesIn(Train("nccl", options + " --parallel.transport nccl")), expected);
}

TEST_F(EmulatedCommand, RanksThatShareADeviceHaveNoNccl) {
  const Outcome outcome =
      RunEmulated(Arguments{"train", "--output", dir_.At("run")} +
                      TinyModel("--device.kind cuda --ranks 3 --parallel.transport nccl"),
                  "devices=2");
  EXPECT_THAT(ComplaintOf(outcome),
              AllOf(HasSubstr("ranks 0 and 2 share one"), HasSubstr("--parallel.transport mpi")));
}

TEST_F(EmulatedCommand, AMachineWithoutADeviceIsTold) {
  const Outcome outcome = RunEmulated(
      Arguments{"train", "--output", dir_.At("run")} + TinyModel("--device.kind cuda --ranks 2"),
      "devices=0");
  EXPECT_THAT(ComplaintOf(outcome),
              AllOf(HasSubstr("device.kind = cuda"), HasSubstr("device.kind = cpu")));
}

TEST_F(EmulatedCommand, ADeviceThatIsTooSmallIsTold) {
  const Outcome outcome =
      RunEmulated(Arguments{"train", "--output", dir_.At("run")} +
                  TinyModel("--device.kind cuda --train.sequence_length 4096 "
                            "--train.global_batch_size 64 --train.micro_batch_size 64 "
                            "--model.hidden_size 256 --model.intermediate_size 512"));
  EXPECT_EQ(outcome.status, 3);
  EXPECT_THAT(outcome.err,
              AllOf(HasSubstr("cudaMalloc"), HasSubstr("device 0"), HasSubstr("bytes free")));
}

#ifdef ANNULUS_TEST_MPI
TEST_F(EmulatedCommand, MpiGivesTheBitsOfThreads) {
  const std::string options = "--device.kind cuda --train.sequence_length 61";
  EXPECT_EQ(LossesIn(Train("mpi", options + " --parallel.transport mpi", "", Mpirun(2))),
            LossesIn(Train("threads", options + " --ranks 2")));
}
#endif

}  // namespace
}  // namespace annulus::runtime
