// Planning ranks that do the same once gives what planning each gives.
#include "runtime/run/world_plan.h"

#include <gtest/gtest.h>

#include "kernels/cpu/cpu_table.h"
#include "runtime/config/validate.h"
#include "runtime/machine/machine_file.h"
#include "runtime/run/rank_setup.h"

namespace annulus::runtime {
namespace {

constexpr const char* kMachine = R"([machine]
ranks_per_node = 2
[matmul f32]
gflops = 100
[attention_forward f32 64]
gflops = 100
[attention_backward f32 64]
gflops = 100
[elementwise f32]
gbytes_per_s = 10
[within_node]
gbytes_per_s = 1
latency_us = 1
[between_nodes]
gbytes_per_s = 0.1
latency_us = 20
)";

struct Sample {
  const char* name;
  int ranks;
  int context_size;
  int64_t length;
  parallel::PartitionKind partition;
  kernels::MaskKind mask;
};

class WorldPlanTest : public testing::TestWithParam<Sample> {};

TEST_P(WorldPlanTest, IsThatOfEveryRank) {
  const Sample& sample = GetParam();
  RunConfig config;
  config.model = {.hidden_size = 32,
                  .num_hidden_layers = 2,
                  .num_attention_heads = 4,
                  .num_key_value_heads = 2,
                  .intermediate_size = 48,
                  .vocab_size = 256};
  config.train.sequence_length = sample.length;
  config.train.global_batch_size = 4;
  config.parallel.context_size = sample.context_size;
  config.parallel.partition = sample.partition;
  config.attention.mask = sample.mask;
  if (sample.mask == kernels::MaskKind::kWindow) config.attention.window = 20;
  Validate(config, sample.ranks);
  const DecoderShape shape = ShapeOf(config, 256);
  const kernels::CpuTable table(1);
  const MachineModel machine = ParseMachine(kMachine, "m.ini");
  const WorldPlan world = PlanWorld(config, shape, table, sample.ranks, &machine);
  ASSERT_EQ(world.ranks(), sample.ranks);
  double slowest = 0;
  int64_t sent = 0;
  for (int rank = 0; rank < sample.ranks; ++rank) {
    const int context = config.parallel.context_size;
    const RankPlan own = PlanRank(config, shape, table,
                                  {.context_rank = rank % context,
                                   .context_size = context,
                                   .data_index = rank / context,
                                   .data_size = sample.ranks / context},
                                  &machine);
    const RankPlan& planned = world.Of(rank);
    EXPECT_EQ(planned.fingerprint, own.fingerprint) << rank;
    EXPECT_EQ(planned.ledger.peak_by_category(), own.ledger.peak_by_category()) << rank;
    EXPECT_EQ(planned.steps[0].bytes_sent, own.steps[0].bytes_sent) << rank;
    EXPECT_EQ(planned.steps[0].messages, own.steps[0].messages) << rank;
    EXPECT_EQ(planned.steps[0].work.model_flops(), own.steps[0].work.model_flops()) << rank;
    EXPECT_DOUBLE_EQ(planned.steps[0].times.total_s(), own.steps[0].times.total_s()) << rank;
    slowest = std::max(slowest, own.steps[0].times.total_s());
    sent += own.steps[0].bytes_sent;
  }
  EXPECT_DOUBLE_EQ(world.Of(world.SlowestRank(0)).steps[0].times.total_s(), slowest);
  EXPECT_EQ(world.BytesSent(0), sent);
}

INSTANTIATE_TEST_SUITE_P(
    Runs, WorldPlanTest,
    testing::Values(
        Sample{"Zigzag", 8, 8, 256, parallel::PartitionKind::kZigzag, kernels::MaskKind::kCausal},
        Sample{"Padded", 6, 6, 101, parallel::PartitionKind::kZigzag, kernels::MaskKind::kCausal},
        Sample{"Contiguous", 5, 5, 200, parallel::PartitionKind::kContiguous,
               kernels::MaskKind::kCausal},
        Sample{"Window", 4, 4, 200, parallel::PartitionKind::kStriped, kernels::MaskKind::kWindow},
        Sample{"DataParallel", 8, 2, 64, parallel::PartitionKind::kZigzag,
               kernels::MaskKind::kCausal},
        Sample{"Seven", 7, 7, 210, parallel::PartitionKind::kZigzag, kernels::MaskKind::kCausal},
        Sample{"Three", 3, 3, 60, parallel::PartitionKind::kZigzag, kernels::MaskKind::kCausal},
        Sample{"One", 1, 1, 64, parallel::PartitionKind::kZigzag, kernels::MaskKind::kFull}),
    [](const auto& sample) { return std::string(sample.param.name); });

// Without padding every zigzag rank of a node's place does the same.
TEST(WorldPlan, PlansFewOfManyRanks) {
  RunConfig config;
  config.model.vocab_size = 256;
  config.train.sequence_length = 4096;
  Validate(config, 64);
  const WorldPlan world =
      PlanWorld(config, ShapeOf(config, 256), kernels::CpuTable(1), 64, nullptr);
  EXPECT_LE(world.distinct.size(), 2u);
  EXPECT_EQ(world.of_rank.size(), 64u);
}

}  // namespace
}  // namespace annulus::runtime
