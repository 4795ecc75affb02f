// `annulus bench attention` in small: rows, ratios, what is left out, and its three forms.
#include "runtime/bench/attention_bench.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "kernels/cpu/bf16_products.h"
#include "runtime/bench/attention_report.h"
#include "tests/bench/well_formed.h"
#include "tests/runtime/message_of.h"

namespace annulus::runtime {
namespace {

using testing::HasSubstr;

BenchOptions Tiny() {
  BenchOptions bench;
  bench.n = {64, 130};
  bench.head_dim = {32};
  bench.mask = {BenchMask::kFull, BenchMask::kWindow};
  bench.threads = {1};
  bench.heads = 2;
  bench.repetitions = 3;
  bench.roof_size = 64;
  return ResolveBench(bench);
}

AttentionReport MeasureAll(const BenchOptions& bench) {
  return RunAttentionBench(bench, [](const std::string&) {});
}

TEST(AttentionBenchTest, MeasuresEveryCombination) {
  std::vector<std::string> told;
  const AttentionReport report =
      RunAttentionBench(Tiny(), [&](const std::string& what) { told.push_back(what); });
  EXPECT_THAT(told, testing::ElementsAre("n = 64, D = 32, f32, full, 1 thread",
                                         "n = 130, D = 32, f32, full, 1 thread",
                                         "n = 64, D = 32, f32, window, 1 thread",
                                         "n = 130, D = 32, f32, window, 1 thread"));
  EXPECT_TRUE(report.skipped.empty());
  ASSERT_EQ(report.rows.size(), 2u * 2 * 2 * 2);  // n, mask, implementation, pass
  for (const AttentionRow& row : report.rows) {
    EXPECT_GT(row.speed.ms, 0);
    EXPECT_LE(row.speed.roof_ratio_min, row.speed.roof_ratio);
    EXPECT_LE(row.speed.roof_ratio, row.speed.roof_ratio_max);
    const int64_t pairs =
        AllowedPairs(MakeBenchMask(row.shape.mask, row.shape.n, row.shape.window).mask);
    const double flops = (row.backward ? 10.0 : 4.0) * 2 * 32 * static_cast<double>(pairs);
    EXPECT_NEAR(row.speed.gflops * row.speed.ms * 1e6, flops, 1e-6 * flops);
    EXPECT_NEAR(row.area,
                static_cast<double>(pairs) / static_cast<double>(row.shape.n * row.shape.n), 1e-12);
    ASSERT_TRUE(row.time_over_full);
    EXPECT_EQ(*row.time_over_full == 1, row.shape.mask == BenchMask::kFull);
  }
}

TEST(AttentionBenchTest, LeavesOutWhatDoesNotFit) {
  BenchOptions bench = Tiny();
  bench.n = {1024};
  bench.mask = {BenchMask::kCausal};
  bench.memory_bytes = 10 << 20;  // two heads of 1024 x 1024 take 8, and their gradients 4
  const AttentionReport report = MeasureAll(bench);
  ASSERT_EQ(report.skipped.size(), 1u);
  EXPECT_EQ(report.skipped[0].implementation, AttentionMethod::kNaive);
  EXPECT_EQ(report.rows.size(), 2u);
  EXPECT_FALSE(report.rows[0].time_over_full);
  EXPECT_THAT(ToText(report),
              HasSubstr("left out: naive, n = 1,024, D = 32, f32, causal, 1 thread: needs 1"));
  EXPECT_THAT(ToJson(report)["skipped"][0]["reason"],
              HasSubstr("more than bench.memory_bytes = 10.00 MiB"));
}

TEST(AttentionBenchTest, JsonHasTheKeysThatAreDocumented) {
  BenchOptions bench = Tiny();
  bench.n = {64};
  bench.threads = {2};
  bench.kv_heads = 1;
  const nlohmann::ordered_json json = ToJson(MeasureAll(bench));
  ASSERT_EQ(json["rows"].size(), 8u);
  const nlohmann::ordered_json& row = json["rows"][3];
  std::vector<std::string> keys;
  for (const auto& [key, value] : row.items()) keys.push_back(key);
  EXPECT_THAT(
      keys, testing::ElementsAre("n", "batch", "heads", "kv_heads", "head_dim", "dtype", "mask",
                                 "threads", "implementation", "pass", "ms", "gflops", "roof_gflops",
                                 "roof_ratio", "roof_ratio_min", "roof_ratio_max", "roof_caveat",
                                 "rounds", "clock", "peak_bytes", "area", "time_over_full"));
  EXPECT_EQ(row["kv_heads"], 1);
  EXPECT_EQ(row["dtype"], "f32");
  EXPECT_EQ(row["mask"], "full");
  EXPECT_EQ(row["implementation"], "naive");
  EXPECT_EQ(row["pass"], "backward");
  EXPECT_EQ(row["threads"], 2);
  EXPECT_EQ(row["clock"], "wall time");
}

// A ratio to products that do not compute in bf16 must not pass for one to those that do.
TEST(AttentionBenchTest, SaysWhereTheRoofIsNoMeasure) {
  BenchOptions bench = Tiny();
  bench.n = {64};
  bench.dtype = {kernels::DType::kF32, kernels::DType::kBF16};
  const AttentionReport report = MeasureAll(bench);
  const bool widened =
      kernels::cpu::ChooseBf16Products().products == kernels::cpu::Bf16Products::kWidened;
  EXPECT_EQ(ToText(report).find("warning: the bf16 roof is f32") != std::string::npos, widened);
  EXPECT_EQ(ToSvg(report).find("not bf16") != std::string::npos, widened);
  const nlohmann::ordered_json rows = ToJson(report)["rows"];
  ASSERT_EQ(rows.size(), report.rows.size());
  for (const auto& row : rows) {
    EXPECT_EQ(row["roof_caveat"] != "", widened && row["dtype"] == "bf16");
  }
}

TEST(AttentionBenchTest, DrawsALineForEachImplementationAndPass) {
  const AttentionReport report = MeasureAll(Tiny());
  const Xml svg = ParseXml(ToSvg(report));
  EXPECT_EQ(CountTags(svg, "g"), 2u);         // masks
  EXPECT_EQ(CountTags(svg, "polyline"), 8u);  // and implementations and passes
  EXPECT_EQ(CountTags(svg, "circle"), report.rows.size());
}

TEST(BenchSetupTest, RefusesHeadsThatDoNotDivide) {
  BenchOptions bench;
  bench.kv_heads = 3;
  EXPECT_EQ(MessageOf([&] { ResolveBench(bench); }),
            "bench.kv_heads = 3 does not divide bench.heads = 8: every key/value head serves as "
            "many query heads");
}

TEST(BenchSetupTest, ReplacesWhatStandsForAnotherValue) {
  BenchOptions bench;
  bench.head_dim = {128};
  const BenchOptions resolved = ResolveBench(bench);
  EXPECT_EQ(resolved.kv_heads, 8);
  EXPECT_GE(resolved.threads.at(0), 1);
  EXPECT_EQ(resolved.intermediate_size, 2752);  // 8/3 of 1024 is 2731
  EXPECT_GT(resolved.memory_bytes, 0);
  EXPECT_EQ(ResolveBench(resolved), resolved);
}

}  // namespace
}  // namespace annulus::runtime
