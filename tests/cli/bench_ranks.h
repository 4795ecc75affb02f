// Benchmarks over two ranks as a user starts them.
#pragma once

#include <gmock/gmock.h>

#include "tests/cli/annulus_command.h"

namespace annulus::runtime {

inline void ExpectRingAndScalingRun(const Arguments& ranks, const Launcher& launcher) {
  const TempDir dir;
  const std::string ring = dir.At("ring.json"), scaling = dir.At("scaling.json");
  const std::string machine = dir.Write("m.ini",
                                        "[machine]\nranks = 2\n[matmul f32]\ngflops = 1\n"
                                        "[attention_forward f32 64]\ngflops = 1\n"
                                        "[attention_backward f32 64]\ngflops = 1\n"
                                        "[elementwise f32]\ngbytes_per_s = 1\n"
                                        "[within_node]\ngbytes_per_s = 1\n");
  const Arguments common =
      Words("--device.threads 1 --bench.repetitions 2 --bench.roof_size 32 --machine " + machine);
  const Outcome first = RunAnnulus(Arguments{"bench", "ring", "--json", ring} + common + ranks +
                                       Words("--bench.n 100 --bench.head_dim 16 --bench.heads 2"),
                                   launcher);
  ASSERT_EQ(first.status, 0) << first.err;
  const nlohmann::json report = ReadJson(ring);
  EXPECT_EQ(report.at("bench"), "ring");
  EXPECT_TRUE(report.at("machine").contains("cpu"));
  ASSERT_EQ(report.at("rows").size(), 2u);
  for (const nlohmann::json& row : report.at("rows")) {
    EXPECT_EQ(row.at("ranks"), 2);
    EXPECT_GT(row.at("ms"), 0);
    EXPECT_GT(row.at("predicted_ms"), 0);
    EXPECT_TRUE(row.at("keys_in_place").get<bool>());
    EXPECT_EQ(row.at("bytes_sent") > 0, row.at("pass") == "backward");
    EXPECT_EQ(row.at("bytes_sent"), row.at("predicted_bytes_sent"));
  }
  const Outcome second = RunAnnulus(
      Arguments{"bench", "scaling", "--json", scaling} + common + ranks +
          Words("--train.sequence_length 64 --model.hidden_size 32 --model.intermediate_size 48"),
      launcher);
  ASSERT_EQ(second.status, 0) << second.err;
  const nlohmann::json rows = ReadJson(scaling).at("rows");
  ASSERT_EQ(rows.size(), 4u);
  for (const nlohmann::json& row : rows) {
    EXPECT_GT(row.at("ms"), 0);
    EXPECT_EQ(row.at("bytes_sent"), row.at("predicted_bytes_sent"));
    EXPECT_EQ(row.at("bytes_sent") > 0, row.at("ranks") > 1);
  }
}

}  // namespace annulus::runtime
