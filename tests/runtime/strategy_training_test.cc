// Training by every strategy: the same gradients and losses as on one rank, and the memory and
// traffic that a plan counts.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <ostream>

#include "runtime/config/strategy.h"
#include "tests/runtime/tiny_run.h"

namespace annulus::runtime {
namespace {

struct StrategyCase {
  ContextStrategy strategy;
  int ranks;
  int ulysses_size;
  int node_size = 0;
  int64_t heads = 4;
  int64_t kv_heads = 2;

  friend void PrintTo(const StrategyCase& c, std::ostream* out) {
    std::string name(NameOf(c.strategy));
    std::replace(name.begin(), name.end(), '-', '_');
    *out << fmt::format("{}_P{}_U{}_w{}_h{}_kv{}", name, c.ranks, c.ulysses_size, c.node_size,
                        c.heads, c.kv_heads);
  }
};

TinyRun OnOneRank(const StrategyCase& c, int64_t length, int64_t batch) {
  TinyRun run = MakeTinyRun(length, batch);
  run.shape.num_attention_heads = c.heads;
  run.shape.num_key_value_heads = c.kv_heads;
  return run;
}

TinyRun By(const StrategyCase& c, TinyRun run) {
  run.ranks = c.ranks;
  run.config.parallel.strategy = c.strategy;
  run.config.parallel.ulysses_size = c.ulysses_size;
  run.config.parallel.node_size = c.node_size;
  return run;
}

class StrategyTraining : public testing::TestWithParam<StrategyCase> {};

TEST_P(StrategyTraining, LossAndEveryGradientAreThoseOfOneRank) {
  const TinyRun one = OnOneRank(GetParam(), 83, 2);
  const GradientResult expected = GradientsOf(one), actual = GradientsOf(By(GetParam(), one));
  EXPECT_EQ(actual.step.targets, expected.step.targets);
  EXPECT_NEAR(actual.step.loss, expected.step.loss, 1e-5 * expected.step.loss);
  const ParameterLayout layout(one.shape);
  for (const ParameterSpec& spec : layout.specs()) {
    double difference = 0, norm = 0;
    for (int64_t i = spec.offset; i < spec.offset + spec.size; ++i) {
      const auto a = static_cast<double>(actual.gradients[static_cast<size_t>(i)]);
      const auto b = static_cast<double>(expected.gradients[static_cast<size_t>(i)]);
      difference += (a - b) * (a - b);
      norm += b * b;
    }
    ASSERT_GT(norm, 0) << spec.name;
    EXPECT_LE(std::sqrt(difference / norm), 1e-5) << spec.name;
  }
}

// To the byte and message, whatever is recomputed and in either dtype.
TEST_P(StrategyTraining, APlanCountsWhatARunTakesAndSends) {
  for (const kernels::DType dtype : {kernels::DType::kF32, kernels::DType::kBF16}) {
    for (const Recompute recompute : {Recompute::kNone, Recompute::kMlp, Recompute::kBlock}) {
      TinyRun run = By(GetParam(), OnOneRank(GetParam(), 61, 2));
      run.shape.dtype = dtype;
      run.config.memory.recompute = recompute;
      OnEveryRank(
          run, [&](Program& program, const BatchLoader& load, Arena& arena, const RankPlan& plan) {
            const parallel::CommCounters before = program.traffic();
            program.Step(0, 61, 0, load);
            program.Evaluate(61, 1, load, [](const auto&...) {});
            EXPECT_EQ(arena.ledger().peak_bytes(), plan.ledger.peak_bytes());
            EXPECT_EQ(arena.ledger().peak_by_category(), plan.ledger.peak_by_category());
            const int64_t step_bytes = plan.steps[0].bytes_sent;
            EXPECT_GT(step_bytes, 0);
            // The evaluation sends as well, and no plan of it is kept: another step tells them
            // apart.
            const parallel::CommCounters evaluated = program.traffic();
            EXPECT_GT(evaluated.bytes_sent - before.bytes_sent, step_bytes);
            program.Step(1, 61, 2, load);
            EXPECT_EQ(program.traffic().bytes_sent - evaluated.bytes_sent, step_bytes);
            EXPECT_EQ(program.traffic().messages - evaluated.messages, plan.steps[0].messages);
          });
    }
  }
}

TEST_P(StrategyTraining, RecomputationAndRepetitionKeepTheBits) {
  TinyRun run = By(GetParam(), OnOneRank(GetParam(), 61, 1));
  const GradientResult kept = GradientsOf(run);
  EXPECT_EQ(GradientsOf(run).gradients, kept.gradients);
  run.config.memory.recompute = Recompute::kBlock;
  EXPECT_EQ(GradientsOf(run).gradients, kept.gradients);
}

// In bf16 a sum in another order rounds another way: losses agree to its last digits.
TEST_P(StrategyTraining, Bf16LossesAgree) {
  TinyRun one = OnOneRank(GetParam(), 83, 2);
  one.shape.dtype = kernels::DType::kBF16;
  const double expected = GradientsOf(one).step.loss;
  EXPECT_NEAR(GradientsOf(By(GetParam(), one)).step.loss, expected, 0x1p-8 * expected);
}

INSTANTIATE_TEST_SUITE_P(All, StrategyTraining,
                         testing::Values(StrategyCase{ContextStrategy::kRing, 3, 1},
                                         StrategyCase{ContextStrategy::kAllGather, 4, 1},
                                         StrategyCase{ContextStrategy::kDoubleRing, 4, 1, 2},
                                         StrategyCase{ContextStrategy::kUlysses, 2, 2},
                                         StrategyCase{ContextStrategy::kUlysses, 4, 4},
                                         StrategyCase{ContextStrategy::kUlysses, 3, 3, 0, 4, 4},
                                         StrategyCase{ContextStrategy::kUlysses, 4, 4, 0, 6, 1},
                                         StrategyCase{ContextStrategy::kHybrid, 4, 2},
                                         StrategyCase{ContextStrategy::kHybrid, 6, 2, 0, 12, 3},
                                         StrategyCase{ContextStrategy::kHybrid, 6, 3}),
                         testing::PrintToStringParamName());

TEST(StrategyCurves, AreTheSameOver50Steps) {
  const StrategyCase ring{ContextStrategy::kRing, 4, 1};
  TinyRun one = OnOneRank(ring, 48, 2);
  one.config.optimizer.learning_rate = 3e-3;
  const std::vector<double> expected = LossesOf(one, 50);
  EXPECT_LT(expected.back(), expected.front() - 0.1);
  for (const StrategyCase& c : {ring, StrategyCase{ContextStrategy::kAllGather, 4, 1},
                                StrategyCase{ContextStrategy::kDoubleRing, 4, 1, 2},
                                StrategyCase{ContextStrategy::kUlysses, 4, 4},
                                StrategyCase{ContextStrategy::kHybrid, 4, 2}}) {
    const std::vector<double> losses = LossesOf(By(c, one), 50);
    for (size_t s = 0; s < losses.size(); ++s) {
      EXPECT_NEAR(losses[s], expected[s], 1e-4) << NameOf(c.strategy) << ", step " << s;
    }
  }
}

}  // namespace
}  // namespace annulus::runtime
