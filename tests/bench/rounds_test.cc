#include "runtime/bench/rounds.h"

#include <gtest/gtest.h>

#include "kernels/cpu/cpu_table.h"
#include "runtime/bench/mlp_workload.h"

namespace annulus::runtime {
namespace {

TEST(RoundsTest, RatiosArePairedWithTheRoofOfTheirRound) {
  // The machine is half as fast in the second round, and at a tenth for the work alone in the
  // third.
  const std::vector<Round> rounds = {{1, 2, 7}, {2, 4, 7}, {1, 20, 7}};
  const PassSummary forward = Summarise(
      rounds, [](const Round& round) { return round.forward_s; }, 6e9, 4e9);
  EXPECT_DOUBLE_EQ(forward.ms, 4000);
  EXPECT_DOUBLE_EQ(forward.gflops, 1.5);
  EXPECT_DOUBLE_EQ(forward.roof_gflops, 4);
  EXPECT_DOUBLE_EQ(forward.roof_ratio, 0.75);
  EXPECT_DOUBLE_EQ(forward.roof_ratio_min, 0.075);
  EXPECT_DOUBLE_EQ(forward.roof_ratio_max, 0.75);
}

TEST(RoundsTest, RunsEveryContestantInEveryRound) {
  kernels::CpuTable table(1);
  const MlpCase small{.rows = 8, .hidden_size = 16, .intermediate_size = 32};
  const MlpCase large{.rows = 256, .hidden_size = 64, .intermediate_size = 192};
  Contestant first([&](const WorkloadContext& c) { return NewMlp(small, c); }, table);
  Contestant second([&](const WorkloadContext& c) { return NewMlp(large, c); }, table);
  Roof roof(table, kernels::DType::kF32, 32);
  EXPECT_EQ(roof.flops(), 2.0 * 32 * 32 * 32);
  const std::array<Contestant*, 2> both = {&first, &second};
  const auto rounds = RunRounds(both, roof, Clock::kThreadCpu, 4);
  ASSERT_EQ(rounds.size(), 2u);
  for (const std::vector<Round>& of_one : rounds) {
    ASSERT_EQ(of_one.size(), 4u);
    for (const Round& round : of_one) {
      EXPECT_GT(round.roof_s, 0);
      EXPECT_GT(round.forward_s, 0);
      EXPECT_GT(round.backward_s, 0);
    }
  }
  EXPECT_EQ(first.peak_bytes(), first.footprint().backward_bytes);
  // Weights and their gradients are no activations.
  EXPECT_EQ(second.footprint().backward_bytes - second.footprint().activation_bytes,
            2 * 3 * 64 * 192 * 4);
  EXPECT_EQ(second.workload().forward_flops(), 6 * 256 * 64 * 192);
  EXPECT_EQ(second.workload().backward_flops(), 12 * 256 * 64 * 192);
}

}  // namespace
}  // namespace annulus::runtime
