// What `annulus` makes of parallel.strategy.
#include <gmock/gmock.h>

#include "tests/cli/annulus_command.h"

namespace annulus::runtime {
namespace {

using nlohmann::json;
using testing::HasSubstr;

constexpr const char* kHeads = "--model.num_attention_heads 4 --model.num_key_value_heads 2 ";

class Strategies : public testing::TestWithParam<const char*> {};

TEST_P(Strategies, CheckPasses) {
  const Outcome outcome =
      RunAnnulus(Arguments{"check"} + TinyModel(kHeads +
                                                std::string("--ranks 4 --train.sequence_length 61 "
                                                            "--parallel.strategy ") +
                                                GetParam()));
  EXPECT_EQ(outcome.status, 0) << outcome.err << outcome.out;
  EXPECT_THAT(outcome.out, HasSubstr("passed"));
}

INSTANTIATE_TEST_SUITE_P(All, Strategies,
                         testing::Values("ring", "all-gather",
                                         "all-gather --parallel.blocks_in_flight 2", "double-ring",
                                         "double-ring --parallel.node_size 2", "ulysses", "hybrid",
                                         "hybrid --parallel.ulysses_size 2 --model.dtype bf16",
                                         "auto"));

TEST(StrategyOfARun, IsShownAndWrittenDown) {
  const TempDir dir;
  const std::string output = dir.At("run"), again = dir.At("again");
  const std::string options = kHeads + std::string("--ranks 4 --parallel.strategy auto");
  const Outcome outcome = RunAnnulus(Arguments{"train", "--output", output} + TinyModel(options));
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("sends least per step: "));
  const std::string ini = ReadFile(output + "/config.ini");
  EXPECT_THAT(ini, HasSubstr("strategy = "));
  EXPECT_THAT(ini, testing::Not(HasSubstr("strategy = auto")));
  EXPECT_THAT(ini, testing::Not(HasSubstr("ulysses_size = 0")));
  const json memory = ReadJson(output + "/memory.json");
  for (const json& rank : memory.at("ranks")) {
    EXPECT_EQ(rank.at("categories"), rank.at("predicted_categories"));
  }
  const Outcome second =
      RunAnnulus({"train", "--config", output + "/config.ini", "--output", again});
  ASSERT_EQ(second.status, 0) << second.err;
  EXPECT_EQ(LossesIn(again), LossesIn(output));
}

// Of many heads Ulysses sends less than a ring; of one key/value head under a window, the ring.
TEST(StrategyOfAPlan, AutoIsWhatSendsLeast) {
  const TempDir dir;
  const auto plan = [&](const std::string& options) {
    const std::string file = dir.At("plan.json");
    const Outcome outcome = RunAnnulus(Arguments{"plan", "--json", file} + TinyModel(options));
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    return ReadJson(file);
  };
  const std::string many =
      "--ranks 8 --model.num_attention_heads 8 --model.hidden_size 64 "
      "--train.sequence_length 1024 ";
  const json choice = plan(many + "--parallel.strategy auto").at("strategy");
  EXPECT_EQ(choice.at("name"), "ulysses");
  EXPECT_EQ(choice.at("ulysses_size"), 8);
  ASSERT_EQ(choice.at("candidates").size(), 4u);
  // What was compared is what a plan of each says.
  for (const json& candidate : choice.at("candidates")) {
    const json alone =
        plan(many + "--parallel.strategy " + candidate.at("name").get<std::string>() +
             " --parallel.ulysses_size " + candidate.at("ulysses_size").dump());
    EXPECT_EQ(alone.at("traffic_bytes").get<double>(),
              8 * candidate.at("bytes_sent").get<double>());
    EXPECT_EQ(alone.at("ranks").at(0).at("predicted_peak_bytes").get<double>(),
              candidate.at("peak_bytes").get<double>());
  }
  const json ring = plan(many +
                         "--model.num_key_value_heads 1 --attention.mask window "
                         "--attention.window 32 --parallel.partition contiguous "
                         "--parallel.strategy auto");
  EXPECT_EQ(ring.at("strategy").at("name"), "ring");
}

// Where nothing but messages takes time, Ulysses sends fewer bytes than a ring and takes longer: it
// has a message for every tensor, sequence and peer.
TEST(StrategyOfARun, AutoGoesByTimeWhereAMachineIsGiven) {
  const TempDir dir;
  const std::string machine = dir.Write(
      "slow-messages.ini",
      "[machine]\n[matmul f32]\ngflops = 1e9\n[elementwise f32]\ngbytes_per_s = 1e9\n"
      "[attention_forward f32 4]\ngflops = 1e9\n[attention_backward f32 4]\ngflops = 1e9\n"
      "[within_node]\nlatency_us = 1000\ngbytes_per_s = 1e9\n");
  const auto train = [&](const std::string& name, const std::string& options) {
    const Outcome outcome =
        RunAnnulus(Arguments{"train", "--output", dir.At(name)} +
                   TinyModel("--model.num_attention_heads 4 --ranks 4 --train.steps 1 "
                             "--parallel.shared_memory off --parallel.strategy auto" +
                             options));
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    return outcome.out;
  };
  EXPECT_THAT(train("bytes", ""), HasSubstr("ulysses: heads over 4 ranks (sends least"));
  EXPECT_THAT(train("time", " --machine " + machine),
              HasSubstr("ring: keys round 4 ranks (takes least"));
}

// Fewer blocks at once are less memory, by the plan as by the run, and the same traffic.
TEST(StrategyOfAPlan, BlocksInFlightBoundTheMemoryOfAnAllGather) {
  const TempDir dir;
  const auto plan = [&](const std::string& options) {
    const std::string file = dir.At("plan.json");
    const Outcome outcome =
        RunAnnulus(Arguments{"plan", "--json", file} +
                   TinyModel("--ranks 8 --train.sequence_length 1024 --attention.mask full "
                             "--parallel.shared_memory off --parallel.strategy all-gather" +
                             options));
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    return ReadJson(file);
  };
  const json all = plan(""), two = plan(" --parallel.blocks_in_flight 2");
  const auto ring_bytes = [](const json& of) -> int64_t {
    return of.at("ranks").at(0).at("predicted_categories").at("ring");
  };
  // 7 and 2 blocks of keys: 2 x 128 tokens x 16 features, f32.
  EXPECT_EQ(ring_bytes(all) - ring_bytes(two), 5 * 2 * 128 * 16 * 4);
  EXPECT_EQ(all.at("traffic_bytes"), two.at("traffic_bytes"));
}

TEST(StrategyMistakes, AreToldOnce) {
  EXPECT_THAT(ComplaintOf(RunAnnulus(Arguments{"train"} +
                                     TinyModel("--ranks 4 --parallel.strategy ulysses"))),
              HasSubstr("choose parallel.strategy = hybrid with ulysses_size 1 or 2"));
  EXPECT_THAT(ComplaintOf(RunAnnulus(Arguments{"plan"} +
                                     TinyModel("--ranks 4 --parallel.strategy double-ring"))),
              HasSubstr("say by parallel.node_size"));
  EXPECT_THAT(ComplaintOf(RunAnnulus(Arguments{"plan"} +
                                     TinyModel("--ranks 4 --parallel.strategy spiral"))),
              HasSubstr("ring, all-gather, double-ring, ulysses, hybrid, auto"));
}

}  // namespace
}  // namespace annulus::runtime
