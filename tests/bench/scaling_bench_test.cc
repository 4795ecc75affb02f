// `annulus bench scaling` in small.
#include "runtime/bench/scaling_bench.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "runtime/bench/scaling_report.h"
#include "tests/bench/over_ranks.h"
#include "tests/bench/well_formed.h"
#include "tests/runtime/message_of.h"
#include "tests/runtime/temp_dir.h"

namespace annulus::runtime {
namespace {

using testing::_;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;

RunConfig Tiny() {
  RunConfig config;
  config.model.hidden_size = 32;
  config.model.num_attention_heads = 4;
  config.model.num_key_value_heads = 2;
  config.model.intermediate_size = 48;
  config.train.sequence_length = 60;
  config.bench.repetitions = 2;
  config.bench.roof_size = 32;
  config.device.threads = 1;
  return config;
}

ScalingReport Measure(const RunConfig& config, int ranks) {
  return OnRanks(ranks, [&](parallel::Communicator& world) {
    return RunScalingBench(config, world, [](const std::string&) {});
  });
}

TEST(ScalingBench, GoesThroughPowersOfTwoAndAllRanksInBothModes) {
  const TempDir dir;
  RunConfig config = Tiny();
  config.machine = dir.Write("m.ini", kSlowMachine);
  const ScalingReport report = Measure(config, 3);
  ASSERT_EQ(report.rows.size(), 6u);
  const int ranks[] = {1, 2, 3};
  for (size_t i = 0; i < report.rows.size(); ++i) {
    const ScalingRow& row = report.rows[i];
    EXPECT_EQ(row.mode, i < 3 ? ScalingMode::kStrong : ScalingMode::kWeak);
    EXPECT_EQ(row.ranks, ranks[i % 3]);
    EXPECT_EQ(row.n, i < 3 ? 60 : 60 * row.ranks);
    EXPECT_EQ(row.bytes_sent, row.predicted_bytes_sent);
    EXPECT_EQ(row.bytes_sent > 0, row.ranks > 1);
    ASSERT_TRUE(row.ms && row.efficiency && row.predicted_ms);
    EXPECT_GT(row.ms->least, 0);
    if (row.ranks == 1) {
      EXPECT_DOUBLE_EQ(row.efficiency->median, 1);
      EXPECT_DOUBLE_EQ(row.predicted_efficiency.value(), 1);
      EXPECT_EQ(row.predicted_exposed_comm_ms.value(), 0);
    }
  }
  EXPECT_EQ(report.rows[0].flops, report.rows[1].flops);
  EXPECT_GT(report.rows[4].flops, 2 * report.rows[3].flops);  // attention's work is quadratic
  EXPECT_THAT(report.notes,
              Contains(HasSubstr("holds for 2 ranks of 1 thread, not for 3 ranks of 1 thread")));
}

// One rank has nothing to spread; where the strategy is left open, each number of ranks takes the
// cheapest for it.
TEST(ScalingBench, EachNumberOfRanksHasItsStrategy) {
  RunConfig config = Tiny();
  config.bench.mode = {ScalingMode::kStrong};
  const auto strategies = [&](ContextStrategy strategy) {
    config.parallel.strategy = strategy;
    std::vector<std::string> names;
    for (const ScalingRow& row : Measure(config, 4).rows) {
      EXPECT_EQ(row.bytes_sent, row.predicted_bytes_sent);
      names.push_back(row.strategy);
    }
    return names;
  };
  EXPECT_THAT(strategies(ContextStrategy::kUlysses), ElementsAre("ring", "ulysses", "ulysses"));
  EXPECT_THAT(strategies(ContextStrategy::kDoubleRing),
              ElementsAre("ring", "double-ring", "double-ring"));
  EXPECT_THAT(strategies(ContextStrategy::kAuto), ElementsAre("ring", _, _));
}

TEST(ScalingBench, ReportsHaveTheirKeys) {
  RunConfig config = Tiny();
  config.bench.mode = {ScalingMode::kWeak};
  const ScalingReport report = Measure(config, 2);
  const nlohmann::ordered_json json = ToJson(report);
  ASSERT_EQ(json.at("rows").size(), 2u);
  const auto& row = json.at("rows").at(1);
  for (const char* key : {"ranks", "n", "ms", "ms_min", "ms_max", "efficiency", "exposed_comm_ms",
                          "bytes_sent", "predicted_bytes_sent", "flops"}) {
    EXPECT_TRUE(row.at(key).is_number()) << key;
  }
  EXPECT_TRUE(row.at("predicted_ms").is_null());
  EXPECT_EQ(row.at("mode"), "weak");
  EXPECT_EQ(row.at("strategy"), "ring");
  EXPECT_THAT(ToText(report), HasSubstr("medians of 2 rounds"));
  EXPECT_EQ(CountTags(ParseXml(ToSvg(report)), "polyline"), 2u);
}

TEST(ScalingBench, PredictsWithoutRunning) {
  const TempDir dir;
  RunConfig config = Tiny();
  config.ranks = 16;
  EXPECT_THAT(MessageOf([&] { ForecastScalingBench(config); }), HasSubstr("--machine FILE"));
  config.machine = dir.Write("m.ini", kSlowMachine);
  const ScalingReport report = ForecastScalingBench(config);
  ASSERT_EQ(report.rows.size(), 10u);
  for (const ScalingRow& row : report.rows) {
    EXPECT_FALSE(row.ms.has_value());
    EXPECT_GT(row.predicted_ms.value(), 0);
    EXPECT_GT(row.predicted_efficiency.value(), 0);
  }
}

TEST(ScalingBench, RefusesSequencesThatRanksCannotShare) {
  RunConfig config = Tiny();
  config.train.sequence_length = 1;
  config.bench.mode = {ScalingMode::kStrong};
  EXPECT_THAT(MessageOf([&] { Measure(config, 2); }), HasSubstr("some would hold none"));
}

}  // namespace
}  // namespace annulus::runtime
