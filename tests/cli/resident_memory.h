// What the operating system sees of a run, against what the ledger says.
#pragma once

#include "tests/cli/annulus_command.h"

namespace annulus::runtime {

// Trains one step on `length` tokens. Of every rank, each a process, the resident memory at its
// peak is the ledger's peak on top of the baseline, within 5%: nothing of size escapes the ledger.
inline void ExpectLedgerExplainsResidentMemory(int64_t length, const Launcher& launcher) {
  // Wide enough that the ledger outweighs what programs of any kind need. The attention window
  // bounds the time of a long sequence and leaves the memory as it is.
  const int64_t width = length < 16384 ? 256 : 64;
  const TempDir dir;
  const std::string output = dir.At("run");
  const Outcome outcome = RunAnnulus(
      Arguments{"train", "--output", output, "--attention.mask", "window", "--attention.window",
                "64", "--model.hidden_size", std::to_string(width), "--train.sequence_length",
                std::to_string(length)} +
          Words("--data.synthetic recall --model.vocab_size 256 --model.num_hidden_layers 2 "
                "--model.num_attention_heads 4 --model.intermediate_size 512 --train.steps 1 "
                "--train.eval_sequences 1 --device.threads 2"),
      launcher);
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  const nlohmann::json memory = ReadJson(output + "/memory.json");
  for (const nlohmann::json& rank : memory.at("ranks")) {
    const auto ledger = rank.at("peak_bytes").get<int64_t>();
    ASSERT_GE(ledger, 100'000'000) << "a smaller ledger proves little";
    const auto expected = static_cast<double>(ledger + rank.at("baseline_bytes").get<int64_t>() +
                                              rank.at("peer_bytes_mapped").get<int64_t>());
    EXPECT_NEAR(rank.at("os_peak_bytes").get<double>(), expected, 0.05 * expected);
  }
}

}  // namespace annulus::runtime
