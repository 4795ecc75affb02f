// What a run leaves behind, and that it can be run again to the same bits.
#include <gmock/gmock.h>

#include <cmath>
#include <cstring>
#include <map>
#include <utility>

#include "runtime/io/safetensors.h"
#include "tests/cli/annulus_command.h"

namespace annulus::runtime {
namespace {

using nlohmann::json;
using testing::UnorderedElementsAre;
using testing::UnorderedElementsAreArray;

std::vector<std::string> KeysOf(const json& object) {
  std::vector<std::string> keys;
  for (const auto& [key, value] : object.items()) keys.push_back(key);
  return keys;
}

class RunFiles : public testing::Test {
 protected:
  // Trains the tiny model with more options into the directory `name`.
  std::filesystem::path Train(const std::string& name, const std::string& options) {
    const std::filesystem::path output = dir_.path() / name;
    const Outcome outcome =
        RunAnnulus(Arguments{"train", "--output", output.string()} + TinyModel(options));
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    EXPECT_EQ(outcome.err, "");
    return output;
  }

  TempDir dir_;
};

TEST_F(RunFiles, ARunDirectoryHoldsTheseAndNoOther) {
  const std::filesystem::path output = Train("run", "");
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(output)) {
    if (entry.is_regular_file()) {
      files.push_back(std::filesystem::relative(entry.path(), output).string());
    }
  }
  EXPECT_THAT(files, UnorderedElementsAre("config.ini", "metrics.jsonl", "memory.json",
                                          "summary.json", "communication.json", "model/config.json",
                                          "model/model.safetensors"));
}

TEST_F(RunFiles, CommunicationSaysWhatEveryStepOfTheScheduleTook) {
  const json all = ReadJson(Train("run",
                                  "--train.steps 3 --ranks 3 --train.eval_every 1 "
                                  "--parallel.shared_memory off") /
                            "communication.json");
  EXPECT_THAT(KeysOf(all), UnorderedElementsAre("slowest", "ranks"));
  ASSERT_EQ(all.at("ranks").size(), 3u);
  for (const json& rank : all.at("ranks")) {
    EXPECT_THAT(KeysOf(rank), UnorderedElementsAre("rank", "host", "busy_ms", "comm_exposed_ms",
                                                   "bytes_sent", "schedule"));
    EXPECT_GT(rank.at("busy_ms"), 0.0);
    // Three steps and what is still under way after them, forward and backward.
    ASSERT_EQ(rank.at("schedule").size(), 8u);
    double sent = 0;
    for (const json& step : rank.at("schedule")) sent += step.at("bytes_sent").get<double>();
    // 2 layers; blocks of 2 x 22 tokens x 16 features, f32: 2 + 2 of keys, 2 of gradients.
    EXPECT_EQ(sent, 2.0 * (2 + 2 + 2) * 2 * 22 * 16 * 4);
    EXPECT_GT(rank.at("bytes_sent"), sent);
  }
}

TEST_F(RunFiles, ATraceHasATrackForEachRankAndWholeArrows) {
  const std::string path = dir_.At("trace.json");
  Train("run", "--train.steps 4 --train.trace_steps 2 --ranks 2 --trace " + path);
  std::map<std::string, std::pair<double, double>> arrows;
  std::map<int, int> steps;
  std::vector<std::string> tracks;
  const json trace = ReadJson(path);
  for (const json& event : trace.at("traceEvents")) {
    const std::string phase = event.at("ph"), name = event.at("name");
    if (phase == "M" && name == "thread_name") tracks.push_back(event.at("args").at("name"));
    if (phase == "s") arrows[event.at("id")].first = event.at("ts");
    if (phase == "f") arrows[event.at("id")].second = event.at("ts");
    if (name.starts_with("training step")) steps[event.at("tid")] += 1;
  }
  ASSERT_EQ(tracks.size(), 2u);
  EXPECT_THAT(tracks[1], testing::StartsWith("rank 1 ("));
  EXPECT_EQ(steps, (std::map<int, int>{{0, 2}, {1, 2}}));
  // Each step: 2 layers, 1 block of keys forward, 1 of keys and 1 of gradients backward; 2 ranks.
  EXPECT_EQ(arrows.size(), 2u * 2u * 3u * 2u);
  for (const auto& [id, ends] : arrows) {
    EXPECT_GT(ends.first, 0) << id;
    EXPECT_GE(ends.second, ends.first) << id;
  }
}

TEST_F(RunFiles, MetricsHaveALineForEveryStep) {
  const std::filesystem::path output =
      Train("run", "--train.steps 4 --train.eval_every 2 --ranks 2 --optimizer.warmup_steps 2");
  int64_t next_step = 1;
  std::vector<int64_t> evaluated;
  for (const json& line : ReadJsonLines(output / "metrics.jsonl")) {
    if (!line.contains("loss")) {
      EXPECT_THAT(KeysOf(line), UnorderedElementsAre("step", "held_out_loss", "task_loss",
                                                     "sequence_length", "sequences"));
      evaluated.push_back(line.at("step"));
      continue;
    }
    EXPECT_THAT(KeysOf(line),
                UnorderedElementsAre("step", "sequence_length", "loss", "grad_norm", "lr", "tokens",
                                     "step_ms", "tokens_per_s", "mfu", "comm_exposed_ms",
                                     "slowest_rank", "slowest_factor", "peak_activation_bytes"));
    EXPECT_EQ(line.at("step"), next_step++);
    EXPECT_EQ(line.at("tokens"), 64);
    EXPECT_GT(line.at("loss"), 0.0);
    EXPECT_GT(line.at("grad_norm"), 0.0);
    EXPECT_GT(line.at("mfu"), 0.0);
    EXPECT_LE(line.at("mfu"), 1.0);
    EXPECT_GT(line.at("peak_activation_bytes"), 0);
  }
  EXPECT_EQ(next_step, 5);
  EXPECT_EQ(evaluated, (std::vector<int64_t>{2, 4}));
}

TEST_F(RunFiles, MemoryHasARowForEveryRank) {
  const std::filesystem::path output = Train("run", "--ranks 3");
  const json ranks = ReadJson(output / "memory.json").at("ranks");
  ASSERT_EQ(ranks.size(), 3u);
  const std::vector<std::string> categories = {"parameters", "gradients",   "optimizer",
                                               "batch",      "activations", "logits",
                                               "attention",  "ring",        "workspace"};
  for (size_t r = 0; r < ranks.size(); ++r) {
    const json& rank = ranks[r];
    EXPECT_THAT(KeysOf(rank),
                UnorderedElementsAre("rank", "host", "categories", "predicted_categories",
                                     "peak_bytes", "predicted_peak_bytes", "peak_activation_bytes",
                                     "predicted_peak_activation_bytes", "os_peak_bytes",
                                     "baseline_bytes", "peer_bytes_mapped", "score_matrix_bytes"));
    EXPECT_EQ(rank.at("rank"), r);
    EXPECT_THAT(KeysOf(rank.at("categories")), UnorderedElementsAreArray(categories));
    int64_t sum = 0;
    for (const auto& [name, bytes] : rank.at("categories").items()) sum += bytes.get<int64_t>();
    EXPECT_EQ(rank.at("peak_bytes"), sum);
    // L B H T n of 4 bytes; 64 tokens in zigzag blocks over 3 ranks are padded to 66.
    EXPECT_EQ(rank.at("score_matrix_bytes"), 2 * 1 * 2 * 22 * 64 * 4);
  }
}

TEST_F(RunFiles, SummaryOfATaskAndOfAText) {
  const std::vector<std::string> always = {
      "final_train_loss", "tokens",          "tokens_per_s",       "train_s",
      "wall_s",           "parameters",      "held_out_sequences", "held_out_targets",
      "held_out_loss",    "loss_by_position"};
  std::vector<std::string> of_task = always, of_text = always;
  of_task.push_back("task_loss");
  of_text.insert(of_text.end(), {"unigram_nats", "bigram_nats"});

  const json task = ReadJson(Train("task", "") / "summary.json");
  EXPECT_THAT(KeysOf(task), UnorderedElementsAreArray(of_task));
  EXPECT_EQ(task.at("tokens"), 128);

  std::string words;
  for (int i = 0; i < 300; ++i) words += "word " + std::to_string(i) + "\n";
  const std::string path = dir_.Write("text.txt", words);
  const std::string output = dir_.At("text");
  const Outcome outcome =
      RunAnnulus({"train", "--data.path", path, "--train.sequence_length", "64", "--train.steps",
                  "2", "--model.hidden_size", "16", "--device.threads", "1", "--output", output});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  const json text = ReadJson(output + "/summary.json");
  EXPECT_THAT(KeysOf(text), UnorderedElementsAreArray(of_text));
  EXPECT_GT(text.at("unigram_nats"), text.at("bigram_nats"));
  int64_t targets = 0;
  for (const json& bucket : text.at("loss_by_position"))
    targets += bucket.at("targets").get<int64_t>();
  EXPECT_EQ(text.at("held_out_targets"), targets);
}

TEST_F(RunFiles, TheModelIsALlamaOfHuggingFaces) {
  const std::filesystem::path model =
      Train("run", "--model.num_attention_heads 4 --model.num_key_value_heads 2") / "model";
  const json config = ReadJson(model / "config.json");
  EXPECT_EQ(config.at("architectures"), json::array({"LlamaForCausalLM"}));
  EXPECT_EQ(config.at("hidden_size"), 16);
  EXPECT_EQ(config.at("num_key_value_heads"), 2);
  const SafetensorsFile file(model / "model.safetensors");
  EXPECT_EQ(file.tensors().size(), 2u * 9u + 3u);
  const SafetensorsTensor& keys = file.Get("model.layers.1.self_attn.k_proj.weight");
  EXPECT_EQ(keys.dtype, "F32");
  EXPECT_EQ(keys.shape, (std::vector<int64_t>{2 * 4, 16}));
  EXPECT_EQ(file.Get("lm_head.weight").shape, (std::vector<int64_t>{32, 16}));
  double norm = 0;
  for (size_t i = 0; i + 4 <= keys.bytes.size(); i += 4) {
    float value = 0;
    std::memcpy(&value, keys.bytes.data() + i, sizeof value);
    ASSERT_TRUE(std::isfinite(value));
    norm += static_cast<double>(value) * static_cast<double>(value);
  }
  EXPECT_GT(norm, 0);
}

TEST_F(RunFiles, ARunFromItsConfigurationGivesTheSameBits) {
  const std::string options = "--train.steps 3 --train.eval_every 1 --train.seed 7 --ranks ";
  for (const char* ranks : {"1", "4"}) {
    const std::string name = std::string("ranks") + ranks;
    const std::filesystem::path first = Train(name, options + ranks);
    const std::string again = dir_.At(name + "-again");
    const Outcome outcome =
        RunAnnulus({"train", "--config", (first / "config.ini").string(), "--output", again});
    ASSERT_EQ(outcome.status, 0) << outcome.err;
    EXPECT_EQ(LossesIn(again), LossesIn(first));
    EXPECT_EQ(LossesIn(again).size(), 6u);
    EXPECT_EQ(ReadFile(again + "/model/model.safetensors"),
              ReadFile(first / "model/model.safetensors"));
    EXPECT_EQ(ReadJson(again + "/memory.json").at("ranks").size(),
              static_cast<size_t>(std::stoi(ranks)));
  }
}

}  // namespace
}  // namespace annulus::runtime
