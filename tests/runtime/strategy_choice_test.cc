#include "runtime/train/strategy_choice.h"

#include <gtest/gtest.h>

namespace annulus::runtime {
namespace {

StrategyCost Cost(int ulysses_size, double bytes_sent, double peak_bytes) {
  StrategyCost cost{.bytes_sent = bytes_sent, .peak_bytes = peak_bytes};
  cost.parallel.context_size = 4;
  cost.parallel.ulysses_size = ulysses_size;
  cost.parallel.strategy = ulysses_size == 1   ? ContextStrategy::kRing
                           : ulysses_size == 4 ? ContextStrategy::kUlysses
                                               : ContextStrategy::kHybrid;
  return cost;
}

TEST(StrategyChoice, IsTheLeastTrafficAndTheFirstOfEquals) {
  EXPECT_EQ(ChooseStrategy({Cost(1, 20, 5), Cost(2, 10, 5), Cost(4, 15, 5)}, 0), 1u);
  EXPECT_EQ(ChooseStrategy({Cost(1, 10, 9), Cost(2, 10, 5), Cost(4, 10, 1)}, 0), 0u);
  EXPECT_EQ(ChooseStrategy({Cost(1, 10, 9)}, 0), 0u);
}

TEST(StrategyChoice, KeepsWithinTheBudgetWhereAnyDoes) {
  const std::vector<StrategyCost> costs = {Cost(1, 20, 500), Cost(2, 10, 900), Cost(4, 15, 600)};
  EXPECT_EQ(ChooseStrategy(costs, 900), 1u);
  EXPECT_EQ(ChooseStrategy(costs, 899), 2u);
  EXPECT_EQ(ChooseStrategy(costs, 599), 0u);
  EXPECT_EQ(ChooseStrategy(costs, 499), 1u);
}

// Where a machine says how long steps take, time decides and bytes break ties.
TEST(StrategyChoice, IsTheLeastTimeWhereThatIsPredicted) {
  const auto timed = [](int ulysses_size, double bytes_sent, double step_ms) {
    StrategyCost cost = Cost(ulysses_size, bytes_sent, 5);
    cost.step_ms = step_ms;
    return cost;
  };
  const std::vector<StrategyCost> costs = {timed(1, 3072, 7), timed(2, 1024, 8), timed(4, 2048, 7)};
  EXPECT_EQ(ChooseStrategy(costs, 0), 2u);
  EXPECT_EQ(DescribeChoice({.candidates = costs, .chosen = 2}, 0),
            "ulysses: heads over 4 ranks (takes least per step: 7.00 ms and 2.00 KiB a rank; ring "
            "7.00 ms and 3.00 KiB, hybrid 2 x 2 8.00 ms and 1.00 KiB)");
  EXPECT_EQ(Most(costs[0], costs[1]).step_ms, 8);
}

TEST(StrategyChoice, IsDescribedBesideTheOthers) {
  StrategyChoice choice{.candidates = {Cost(1, 2048, 500), Cost(2, 1024, 900), Cost(4, 1536, 600)},
                        .chosen = 2};
  EXPECT_EQ(DescribeChoice(choice, 800),
            "ulysses: heads over 4 ranks (sends least per step: 1.50 KiB a rank; ring 2.00 KiB, "
            "hybrid 2 x 2 1.00 KiB but over the budget)");
  EXPECT_EQ(DescribeChoice({.candidates = {Cost(1, 0, 0)}}, 0), "ring: keys round 4 ranks");
}

// Steps of the run's phases count by how many there are.
TEST(StrategyChoice, CostIsTheMeanOverTheSteps) {
  RunConfig config;
  config.train.context_schedule = {{16, 30}, {64, 10}};
  config.train.steps = 40;
  RankPlan plan{.place = {},
                .ledger = {},
                .steps = {{.work = {}, .bytes_sent = 100}, {.work = {}, .bytes_sent = 500}}};
  plan.steps[0].times.exposed_s = 1e-3;
  plan.steps[1].times.exposed_s = 5e-3;
  EXPECT_DOUBLE_EQ(CostOf(config, plan).bytes_sent, 200);
  EXPECT_DOUBLE_EQ(CostOf(config, plan).step_ms, 2);
  const StrategyCost most = Most(Cost(1, 10, 900), Cost(1, 20, 500));
  EXPECT_EQ(most.bytes_sent, 20);
  EXPECT_EQ(most.peak_bytes, 900);
}

// Candidates are planned where there is something to choose, and only there.
TEST(StrategyChoice, PlansWhatIsLeftOpen) {
  RunConfig config;
  config.model.num_attention_heads = 4;
  config.parallel.context_size = 4;
  config.parallel.strategy = ContextStrategy::kAuto;
  const auto cost = [](const RunConfig& candidate) {
    return Cost(candidate.parallel.ulysses_size, candidate.parallel.ulysses_size == 2 ? 1 : 2, 0);
  };
  const StrategyChoice choice = PlanStrategies(config, cost);
  EXPECT_EQ(choice.candidates.size(), 3u);
  EXPECT_EQ(choice.parallel().strategy, ContextStrategy::kHybrid);
  EXPECT_EQ(choice.parallel().ulysses_size, 2);

  config.parallel = choice.parallel();
  EXPECT_EQ(PlanStrategies(config,
                           [](const RunConfig&) -> StrategyCost {
                             ADD_FAILURE() << "planned what was decided";
                             return {};
                           })
                .parallel(),
            choice.parallel());
}

}  // namespace
}  // namespace annulus::runtime
