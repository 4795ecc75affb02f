// `annulus bench ring` in small: what it measures is what it predicts of bytes, and the time model
// gives what can be worked out by hand.
#include "runtime/bench/ring_bench.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "kernels/cpu/cpu_table.h"
#include "runtime/bench/ring_report.h"
#include "runtime/config/strategy.h"
#include "runtime/machine/machine_file.h"
#include "tests/bench/over_ranks.h"
#include "tests/bench/well_formed.h"
#include "tests/runtime/message_of.h"
#include "tests/runtime/temp_dir.h"

namespace annulus::runtime {
namespace {

using testing::HasSubstr;

RunConfig Tiny() {
  RunConfig config;
  config.bench.n = {63, 128};
  config.bench.head_dim = {16};
  config.bench.heads = 4;
  config.bench.kv_heads = 2;
  config.bench.repetitions = 2;
  config.bench.roof_size = 32;
  config.device.threads = 1;
  config.parallel.shared_memory = SharedMemory::kOff;
  return config;
}

RingReport Measure(const RunConfig& config, int ranks) {
  return OnRanks(ranks, [&](parallel::Communicator& world) {
    return RunRingBench(config, world, [](const std::string&) {});
  });
}

ParallelOptions Ring(parallel::PartitionKind partition = parallel::PartitionKind::kZigzag) {
  ParallelOptions parallel;
  parallel.partition = partition;
  parallel.ulysses_size = 1;
  return parallel;
}

TEST(RingBench, SendsWhatItPredicts) {
  for (const int ranks : {1, 2, 3}) {
    for (const auto partition :
         {parallel::PartitionKind::kZigzag, parallel::PartitionKind::kContiguous}) {
      RunConfig config = Tiny();
      config.parallel.partition = partition;
      config.bench.mask = {BenchMask::kCausal, BenchMask::kWindow};
      const RingReport report = Measure(config, ranks);
      ASSERT_EQ(report.rows.size(), 8u);
      for (const RingRow& row : report.rows) {
        EXPECT_EQ(row.ranks, ranks);
        EXPECT_EQ(row.bytes_sent, row.predicted_bytes_sent);
        EXPECT_EQ(row.bytes_sent > 0, ranks > 1);
        ASSERT_TRUE(row.ms && row.efficiency && row.baseline_ms);
        EXPECT_GT(row.ms->least, 0);
        EXPECT_LE(row.ms->least, row.ms->median);
        EXPECT_LE(row.ms->median, row.ms->most);
        EXPECT_FALSE(row.predicted_ms.has_value());
      }
    }
  }
}

TEST(RingBench, OneRankIsSetBesideTheBareKernel) {
  const RingReport one = Measure(Tiny(), 1);
  ASSERT_EQ(one.rows.size(), 4u);
  for (const RingRow& row : one.rows) {
    ASSERT_TRUE(row.over_kernel && row.efficiency && row.speed);
    EXPECT_GT(row.over_kernel->least, 0);
    EXPECT_NEAR(row.over_kernel->least, 1 / row.efficiency->most, 1e-9);
    EXPECT_GT(row.speed->roof_ratio, 0);
    EXPECT_EQ(row.clock, Clock::kThreadCpu);
    EXPECT_FALSE(row.devices.has_value());
  }
  EXPECT_THAT(ToText(one), HasSubstr("over the bare kernel: "));
  const RingReport two = Measure(Tiny(), 2);
  for (const RingRow& row : two.rows) {
    EXPECT_FALSE(row.over_kernel.has_value());
    EXPECT_EQ(row.clock, Clock::kWall);
  }
  EXPECT_TRUE(ToJson(two).at("rows").at(0).at("over_kernel").is_null());
}

TEST(RingBench, MeasuresEveryStrategyThatIsLeftOpen) {
  RunConfig config = Tiny();
  config.bench.n = {63};
  config.bench.heads = 3;  // over 2 ranks not evenly
  config.bench.kv_heads = 1;
  const auto strategies = [&](ContextStrategy strategy) {
    config.parallel.strategy = strategy;
    std::vector<std::string> names;
    for (const RingRow& row : Measure(config, 4).rows) {
      EXPECT_EQ(row.bytes_sent, row.predicted_bytes_sent);
      EXPECT_GT(row.bytes_sent, 0);
      if (!row.backward) names.push_back(ShortName(row.ring.parallel));
    }
    return names;
  };
  EXPECT_THAT(strategies(ContextStrategy::kAuto), testing::ElementsAre("ring", "hybrid 2 x 2"));
  EXPECT_THAT(strategies(ContextStrategy::kAllGather), testing::ElementsAre("all-gather"));
  EXPECT_THAT(strategies(ContextStrategy::kDoubleRing), testing::ElementsAre("double-ring"));
  EXPECT_THAT(MessageOf([&] { strategies(ContextStrategy::kUlysses); }),
              HasSubstr("some would have none"));
}

// Blocks of 2 of [T, Hkv * D] f32: keys travel one hop, and their gradient one home.
TEST(RingBench, TwoRanksSendTheBlocksOfTheSchedule) {
  const RingReport report = Measure(Tiny(), 2);
  const RingRow& forward = report.rows[2];
  const RingRow& backward = report.rows[3];
  ASSERT_EQ(forward.ring.attention.n, 128);
  EXPECT_FALSE(forward.backward);
  EXPECT_TRUE(backward.backward);
  constexpr int64_t kBlock = 2 * 64 * 2 * 16 * 4;
  EXPECT_EQ(forward.bytes_sent, 2 * kBlock);
  EXPECT_EQ(backward.bytes_sent, 2 * 2 * kBlock);
}

// Keys stay where they are; their gradient travels.
TEST(RingBench, TwoRanksThatShareMemorySendGradientsAlone) {
  RunConfig config = Tiny();
  config.parallel.shared_memory = SharedMemory::kAuto;
  const RingReport report = Measure(config, 2);
  for (size_t i = 0; i < report.rows.size(); i += 2) {
    // Of two zigzag pieces to a rank.
    const int64_t tokens = 2 * ((report.rows[i].ring.attention.n + 3) / 4);
    EXPECT_TRUE(report.rows[i].ring.sharing.on());
    EXPECT_EQ(report.rows[i].bytes_sent, 0);
    EXPECT_EQ(report.rows[i + 1].bytes_sent, 2 * 2 * tokens * 2 * 16 * 4);
  }
  EXPECT_THAT(ToText(report), HasSubstr("keys: read in place by ranks that share memory, 2 each"));
}

TEST(RingBench, AMissingBaselineLeavesTheRest) {
  RunConfig config = Tiny();
  config.bench.n = {128};
  config.bench.memory_bytes = 1000;
  const RingReport report = Measure(config, 2);
  ASSERT_EQ(report.rows.size(), 2u);
  EXPECT_EQ(report.rows[0].baseline, RingBaseline::kNone);
  EXPECT_FALSE(report.rows[0].efficiency.has_value());
  EXPECT_TRUE(report.rows[0].ms.has_value());
  EXPECT_NO_THROW(ParseXml(ToSvg(report)));
}

// Without overheads and links, efficiency is the balance of FLOPs: 1 for zigzag, P / (2P - 1) for
// contiguous blocks, whose last rank folds P - 1 whole blocks and half of one where the mean is
// half of P.
TEST(RingForecast, IsBoundByTheBusiestRank) {
  const MachineModel machine = ParseMachine(
      "[machine]\n[attention_forward f32 64]\ngflops = 1\n[attention_backward f32 64]\n"
      "gflops = 1\n[elementwise f32]\ngbytes_per_s = 1e9\n[within_node]\ngbytes_per_s = 1e9\n",
      "m.ini");
  const kernels::CpuTable table(1);
  for (const int ranks : {2, 8}) {
    const AttentionCase attention{.n = 4096, .heads = 1, .kv_heads = 1, .head_dim = 64};
    const auto efficiency = [&](parallel::PartitionKind partition) {
      const RingCase ring{attention, Ring(partition)};
      const RingForecast many = ForecastRing(ring, table, ranks, &machine);
      const RingForecast one = ForecastRing(ring, table, 1, &machine);
      return one.forward.times.total_s() / ranks / many.forward.times.total_s();
    };
    EXPECT_NEAR(efficiency(parallel::PartitionKind::kZigzag), 1, 1e-3);
    EXPECT_NEAR(efficiency(parallel::PartitionKind::kContiguous), ranks / (2.0 * ranks - 1), 1e-3);
  }
}

// A link so slow that compute hides nothing: a pass lasts as long as its messages.
TEST(RingForecast, ASlowLinkIsExposed) {
  const MachineModel machine = ParseMachine(
      "[machine]\n[attention_forward f32 64]\ngflops = 1e9\n[attention_backward f32 64]\n"
      "gflops = 1e9\n[elementwise f32]\ngbytes_per_s = 1e9\n[within_node]\ngbytes_per_s = 1e-6\n",
      "m.ini");
  const kernels::CpuTable table(1);
  const AttentionCase attention{.n = 1024, .heads = 1, .kv_heads = 1, .head_dim = 64};
  const RingForecast ring = ForecastRing({attention, Ring()}, table, 4, &machine);
  constexpr double kBlockSeconds = 2 * 256 * 64 * 4 / 1e3;
  EXPECT_NEAR(ring.forward.times.exposed_s, 3 * kBlockSeconds, 0.01 * kBlockSeconds);
  EXPECT_NEAR(ring.forward.times.total_s(), 3 * kBlockSeconds, 0.01 * kBlockSeconds);
  EXPECT_NEAR(ring.backward.times.exposed_s, 6 * kBlockSeconds, 0.01 * kBlockSeconds);
}

TEST(RingBench, ReportsHaveTheirKeys) {
  const TempDir dir;
  RunConfig config = Tiny();
  config.bench.n = {128};
  config.machine = dir.Write("m.ini", kSlowMachine);
  const RingReport report = Measure(config, 2);
  const nlohmann::ordered_json json = ToJson(report);
  ASSERT_EQ(json.at("rows").size(), 2u);
  const auto& row = json.at("rows").at(1);
  for (const char* key :
       {"ms", "efficiency", "predicted_ms", "exposed_comm_ms", "bytes_sent", "predicted_bytes_sent",
        "predicted_exposed_comm_ms", "ms_min", "ms_max", "gflops", "roof_gflops", "roof_ratio"}) {
    EXPECT_TRUE(row.at(key).is_number()) << key;
  }
  EXPECT_EQ(row.at("mode"), "strong");
  EXPECT_EQ(row.at("strategy"), "ring");
  EXPECT_EQ(row.at("partition"), "zigzag");
  EXPECT_EQ(row.at("pass"), "backward");
  EXPECT_EQ(row.at("threads_per_rank"), 1);
  EXPECT_TRUE(row.at("devices").is_null());
  EXPECT_THAT(ToText(report), HasSubstr("predicted by slow ("));
  EXPECT_EQ(CountTags(ParseXml(ToSvg(report)), "polyline"), 4u);
}

TEST(RingBench, PredictsWithoutRunning) {
  const TempDir dir;
  RunConfig config = Tiny();
  config.ranks = 64;
  config.bench.n = {4096};
  EXPECT_THAT(MessageOf([&] { ForecastRingBench(config); }), HasSubstr("--machine FILE"));
  config.machine = dir.Write("m.ini", kSlowMachine);
  const RingReport report = ForecastRingBench(config);
  ASSERT_EQ(report.rows.size(), 2u);
  for (const RingRow& row : report.rows) {
    EXPECT_EQ(row.ranks, 64);
    EXPECT_FALSE(row.ms.has_value());
    EXPECT_GT(row.predicted_ms.value(), 0);
    EXPECT_GT(row.predicted_efficiency.value(), 0);
    EXPECT_LE(row.predicted_efficiency.value(), 1);
  }
  EXPECT_TRUE(ToJson(report).at("rows").at(0).at("ms").is_null());
}

TEST(RingBench, AFileWithoutALinkIsRefusedTogether) {
  const TempDir dir;
  RunConfig config = Tiny();
  config.machine = dir.Write("m.ini", "[machine]\n");
  EXPECT_THAT(MessageOf([&] { Measure(config, 2); }), HasSubstr("[within_node]"));
}

}  // namespace
}  // namespace annulus::runtime
