// `annulus bench wall` in small: what it measures, what it derives, why it ends.
#include "runtime/bench/wall_bench.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "runtime/bench/wall_report.h"
#include "tests/bench/well_formed.h"
#include "tests/runtime/message_of.h"

namespace annulus::runtime {
namespace {

using testing::HasSubstr;

BenchOptions Tiny() {
  BenchOptions bench;
  bench.n = {64, 256};
  bench.head_dim = {16};
  bench.threads = {1};
  bench.heads = 2;
  bench.repetitions = 1;
  bench.roof_size = 64;
  return ResolveBench(bench);
}

WallReport MeasureAll(const BenchOptions& bench) {
  return RunWallBench(bench, [](const std::string&) {});
}

// Times and memory as a machine would give that computes attention in n^2 / 1000, the MLP in n / 2.
WallReport Synthetic() {
  WallReport report;
  report.shape = {.n = 4096, .heads = 8};
  for (int64_t n = 64; n <= 4096; n *= 2) {
    const auto x = static_cast<double>(n);
    const auto add = [&](WallPart part, double ms, int64_t bytes) {
      report.rows.push_back({.n = n, .part = part, .activation_bytes = bytes});
      report.rows.back().both.ms = ms;
    };
    add(WallPart::kMlp, x / 2, 1000 * n);
    add(WallPart::kFused, x * x / 1000, 500 * n);
    if (n <= 256) add(WallPart::kNaive, x * x / 100, 8 * n * n);
  }
  report.stopped = "because";
  return report;
}

TEST(WallBenchTest, DoublesNFromTheLeastToTheGreatest) {
  const WallReport report = MeasureAll(Tiny());
  ASSERT_EQ(report.rows.size(), 9u);
  for (size_t i = 0; i < report.rows.size(); ++i) {
    EXPECT_EQ(report.rows[i].n, int64_t{64} << (i / 3));
    EXPECT_EQ(report.rows[i].part, kWallParts[i % 3]);
    EXPECT_GT(report.rows[i].both.ms, 0);
  }
  EXPECT_EQ(report.stopped, "bench.n ends at 256");
  EXPECT_EQ(report.hidden_size, 32);
  // n x n scores and probabilities against what grows with n alone.
  EXPECT_NEAR(*FitExponent(report.Memory(WallPart::kMlp)), 1, 0.05);
  EXPECT_GT(*FitExponent(report.Memory(WallPart::kNaive)), 1.4);
}

TEST(WallBenchTest, LeavesOutWhatOutgrowsTheMemoryAndGoesOn) {
  BenchOptions bench = Tiny();
  bench.n = {256, 1024};
  bench.memory_bytes = 10 << 20;  // two heads of 1024 x 1024 take 8, and their gradients 4
  const WallReport report = MeasureAll(bench);
  EXPECT_EQ(report.Times(WallPart::kFused).size(), 3u);
  EXPECT_EQ(report.Times(WallPart::kNaive).size(), 2u);
  ASSERT_EQ(report.skipped.size(), 1u);
  EXPECT_THAT(report.skipped[0], testing::StartsWith("naive from n = 1,024 on: needs "));
}

TEST(WallBenchTest, EndsBeforeItsTime) {
  BenchOptions bench = Tiny();
  bench.n = {64, 1 << 24};
  bench.time_s = 1e-6;
  const WallReport report = MeasureAll(bench);
  EXPECT_LE(report.rows.size(), 3u);
  EXPECT_THAT(report.stopped, testing::StartsWith("no attention is left at n = "));
  EXPECT_THAT(report.skipped.back(), HasSubstr("would end after bench.time_s = 1e-06 s"));
}

TEST(WallBenchTest, TakesOneValueOfWhatItDoesNotVary) {
  BenchOptions bench = Tiny();
  bench.head_dim = {64, 128};
  EXPECT_EQ(MessageOf([&] { MeasureAll(bench); }),
            "bench wall takes one value of bench.head_dim, not 2");
}

TEST(WallReportTest, FindsExponentsAndCrossover) {
  const WallReport report = Synthetic();
  EXPECT_NEAR(*report.Crossover(WallPart::kFused), 500, 1e-6);
  EXPECT_FALSE(report.Crossover(WallPart::kNaive));  // above from the first on
  const nlohmann::ordered_json json = ToJson(report);
  EXPECT_NEAR(json["exponents"]["fused"]["time"], 2, 1e-9);
  EXPECT_NEAR(json["exponents"]["fused"]["memory"], 1, 1e-9);
  EXPECT_NEAR(json["exponents"]["naive"]["memory"], 2, 1e-9);
  EXPECT_NEAR(json["exponents"]["mlp"]["time"], 1, 1e-9);
  EXPECT_NEAR(json["crossover"]["fused"], 500, 1e-6);
  EXPECT_TRUE(json["crossover"]["naive"].is_null());
  EXPECT_EQ(json["stopped"], "because");
  EXPECT_EQ(json["rows"].size(), 17u);
  for (const char* key : {"n", "part", "forward_ms", "backward_ms", "ms", "gflops", "roof_gflops",
                          "roof_ratio", "peak_bytes", "head_dim", "dtype", "mask", "threads"}) {
    EXPECT_TRUE(json["rows"][0].contains(key)) << key;
  }
}

// The MLP needs more memory than fused attention and may be left out first.
TEST(WallReportTest, ComparesWhereBothWereMeasured) {
  WallReport report = Synthetic();
  std::erase_if(report.rows,
                [](const WallRow& row) { return row.part == WallPart::kMlp && row.n > 1024; });
  EXPECT_NEAR(*report.Crossover(WallPart::kFused), 500, 1e-6);
  std::erase_if(report.rows,
                [](const WallRow& row) { return row.part == WallPart::kMlp && row.n > 256; });
  EXPECT_THAT(ToText(report),
              HasSubstr("fused attention takes less time than the MLP at all n from 64 to 256\n"));
}

TEST(WallReportTest, SaysItToPeople) {
  const std::string text = ToText(Synthetic());
  EXPECT_THAT(text, HasSubstr("fused attention overtakes the MLP at n = 500\n"));
  EXPECT_THAT(text,
              HasSubstr("naive attention takes more time than the MLP at all n from 64 to 256"));
  EXPECT_THAT(text, HasSubstr("fused     n^2.00  n^1.00"));
  EXPECT_THAT(text, HasSubstr("ended: because\n"));
  const Xml svg = ParseXml(ToSvg(Synthetic()));
  EXPECT_EQ(CountTags(svg, "g"), 2u);
  EXPECT_EQ(CountTags(svg, "polyline"), 6u);
}

}  // namespace
}  // namespace annulus::runtime
