// A run against its plan, with keys read in place and with keys copied.
#pragma once

#include <gmock/gmock.h>

#include "tests/cli/annulus_command.h"

namespace annulus::runtime {

// Of a run of three steps: what it printed, what it sent in a step, its losses.
struct SharingRun {
  std::string out;
  double bytes_sent = 0;  // by all ranks
  std::vector<std::string> losses;
};

// Trains with `options` under `launcher`, and expects of bytes and memory what `annulus plan` says.
inline SharingRun TrainAsPlanned(const std::string& options, const Launcher& launcher, int ranks) {
  const TempDir dir;
  const std::string output = dir.At("run"), file = dir.At("plan.json");
  const std::string of_run = launcher.command.empty() ? " --ranks " + std::to_string(ranks) : "";
  const Outcome run = RunAnnulus(
      Arguments{"train", "--output", output} + TinyModel("--train.steps 3 " + options + of_run),
      launcher);
  EXPECT_EQ(run.status, 0) << run.err;
  const Outcome planned =
      RunAnnulus(Arguments{"plan", "--json", file} +
                 TinyModel("--train.steps 3 " + options + " --ranks " + std::to_string(ranks)));
  EXPECT_EQ(planned.status, 0) << planned.err;
  if (run.status != 0 || planned.status != 0) return {};
  const nlohmann::json plan = ReadJson(file), memory = ReadJson(output + "/memory.json");
  SharingRun result{.out = run.out, .losses = LossesIn(output)};
  const nlohmann::json communication = ReadJson(output + "/communication.json");
  for (const nlohmann::json& rank : communication.at("ranks")) {
    result.bytes_sent += rank.at("bytes_sent").get<double>();
  }
  EXPECT_EQ(result.bytes_sent, plan.at("traffic_bytes").get<double>()) << options;
  for (size_t rank = 0; rank < plan.at("ranks").size(); ++rank) {
    const nlohmann::json& ours = memory.at("ranks").at(rank);
    EXPECT_EQ(ours.at("categories"), plan.at("ranks").at(rank).at("predicted_categories"));
    EXPECT_EQ(ours.at("categories"), ours.at("predicted_categories"));
    EXPECT_EQ(ours.at("peak_bytes"), ours.at("predicted_peak_bytes"));
  }
  return result;
}

// With every strategy that moves keys, on one node and on two that are said: the same losses, and
// the fewer bytes the more is shared.
inline void ExpectSharingSavesBytesAlone(const Launcher& launcher) {
  constexpr int kRanks = 4;
  for (const char* strategy :
       {"ring", "all-gather", "double-ring", "hybrid --parallel.ulysses_size 2"}) {
    SCOPED_TRACE(strategy);
    const std::string options =
        "--model.num_attention_heads 4 --model.num_key_value_heads 2 --train.sequence_length 61 "
        "--parallel.node_size 2 --parallel.strategy " +
        std::string(strategy) + " --parallel.shared_memory ";
    // Heads are exchanged within a node: no two of its ranks hold the same.
    const bool shares = std::string(strategy).find("hybrid") == std::string::npos;
    const SharingRun on = TrainAsPlanned(options + "on", launcher, kRanks);
    EXPECT_THAT(on.out, testing::HasSubstr(shares ? "read in place by ranks that share memory, 2"
                                                  : "copied: no two ranks"));
    if (std::string(strategy) != "double-ring") continue;
    const SharingRun off = TrainAsPlanned(options + "off", launcher, kRanks);
    EXPECT_THAT(off.out, testing::HasSubstr("copied: parallel.shared_memory = off"));
    EXPECT_EQ(on.losses, off.losses);
    EXPECT_LT(on.bytes_sent, off.bytes_sent);
  }
  const std::string ring = "--train.sequence_length 61 --parallel.shared_memory ";
  const SharingRun node = TrainAsPlanned(ring + "auto", launcher, kRanks);
  const SharingRun half = TrainAsPlanned(ring + "auto --parallel.node_size 2", launcher, kRanks);
  const SharingRun none = TrainAsPlanned(ring + "off", launcher, kRanks);
  EXPECT_THAT(node.out, testing::HasSubstr("read in place by ranks that share memory, 4"));
  EXPECT_EQ(node.losses, none.losses);
  EXPECT_EQ(half.losses, none.losses);
  EXPECT_LT(node.bytes_sent, half.bytes_sent);
  EXPECT_LT(half.bytes_sent, none.bytes_sent);
}

}  // namespace annulus::runtime
