// Ranks as processes train as ranks as threads do, to the bit.
#include <gmock/gmock.h>

#include "tests/cli/annulus_command.h"

namespace annulus::runtime {
namespace {

TEST(OverMpi, LossesAreThoseOfThreads) {
  const TempDir dir;
  for (const int ranks : {2, 4}) {
    const std::string options = "--train.steps 3 --train.eval_every 1 --train.sequence_length 61";
    const std::string over_mpi = dir.At("mpi" + std::to_string(ranks));
    const std::string over_threads = dir.At("threads" + std::to_string(ranks));
    const Outcome mpi =
        RunAnnulus(Arguments{"train", "--output", over_mpi} + TinyModel(options), Mpirun(ranks));
    ASSERT_EQ(mpi.status, 0) << mpi.err;
    const Outcome threads = RunAnnulus(Arguments{"train", "--output", over_threads} +
                                       TinyModel(options + " --ranks " + std::to_string(ranks)));
    ASSERT_EQ(threads.status, 0) << threads.err;
    EXPECT_EQ(LossesIn(over_mpi), LossesIn(over_threads));
    EXPECT_EQ(LossesIn(over_mpi).size(), 6u);
    EXPECT_EQ(ReadFile(over_mpi + "/model/model.safetensors"),
              ReadFile(over_threads + "/model/model.safetensors"));
  }
}

// Heads are exchanged and keys travel between processes as between threads.
TEST(OverMpi, EveryStrategyGivesTheBitsOfThreads) {
  const TempDir dir;
  for (const char* strategy : {"all-gather", "double-ring --parallel.node_size 2", "ulysses",
                               "hybrid --parallel.ulysses_size 2"}) {
    const std::string options = std::string(
                                    "--train.sequence_length 61 --model.num_attention_heads 4 "
                                    "--model.num_key_value_heads 2 --parallel.strategy ") +
                                strategy;
    const std::string name = options.substr(options.rfind("strategy ") + 9, 5);
    const std::string over_mpi = dir.At("mpi" + name), over_threads = dir.At("threads" + name);
    const Outcome mpi =
        RunAnnulus(Arguments{"train", "--output", over_mpi} + TinyModel(options), Mpirun(4));
    ASSERT_EQ(mpi.status, 0) << mpi.err;
    const Outcome threads = RunAnnulus(Arguments{"train", "--output", over_threads} +
                                       TinyModel(options + " --ranks 4"));
    ASSERT_EQ(threads.status, 0) << threads.err;
    EXPECT_EQ(LossesIn(over_mpi), LossesIn(over_threads)) << strategy;
    EXPECT_EQ(ReadFile(over_mpi + "/model/model.safetensors"),
              ReadFile(over_threads + "/model/model.safetensors"))
        << strategy;
    const nlohmann::json memory = ReadJson(over_mpi + "/memory.json");
    for (const nlohmann::json& rank : memory.at("ranks")) {
      EXPECT_EQ(rank.at("peak_bytes"), rank.at("predicted_peak_bytes")) << strategy;
    }
  }
}

TEST(OverMpi, ARunFromItsConfigurationGivesTheSameBits) {
  const TempDir dir;
  const std::string first = dir.At("first"), again = dir.At("again");
  ASSERT_EQ(RunAnnulus(Arguments{"train", "--output", first} + TinyModel(), Mpirun(2)).status, 0);
  const Outcome outcome =
      RunAnnulus({"train", "--config", first + "/config.ini", "--output", again}, Mpirun(2));
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(LossesIn(again), LossesIn(first));
}

TEST(OverMpi, MemoryIsAsPredictedOnEveryRank) {
  const TempDir dir;
  const std::string output = dir.At("run");
  const Outcome outcome =
      RunAnnulus(Arguments{"train", "--output", output} +
                     TinyModel("--train.sequence_length 61 --parallel.context_size 2 "
                               "--train.global_batch_size 2 --memory.recompute mlp"),
                 Mpirun(4));
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  const nlohmann::json ranks = ReadJson(output + "/memory.json").at("ranks");
  ASSERT_EQ(ranks.size(), 4u);
  for (const nlohmann::json& rank : ranks) {
    EXPECT_EQ(rank.at("categories"), rank.at("predicted_categories"));
    EXPECT_EQ(rank.at("peak_bytes"), rank.at("predicted_peak_bytes"));
  }
}

TEST(OverMpi, CheckPasses) {
  const TempDir dir;
  const std::string file = dir.At("check.json");
  const Outcome outcome = RunAnnulus(
      Arguments{"check", "--json", file} + TinyModel("--train.sequence_length 61"), Mpirun(2));
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(ReadJson(file).at("checks").at(0).at("ranks"), 2);
}

}  // namespace
}  // namespace annulus::runtime
