#include "runtime/train/strategy_choice.h"

#include <algorithm>
#include <tuple>

#include "runtime/config/strategy.h"
#include "runtime/io/format.h"

namespace annulus::runtime {
namespace {

bool Fits(const StrategyCost& cost, int64_t budget_bytes) {
  return budget_bytes == 0 || cost.peak_bytes <= static_cast<double>(budget_bytes);
}

}  // namespace

StrategyCost CostOf(const RunConfig& config, const RankPlan& plan) {
  const std::vector<ContextPhase> phases = config.train.Phases();
  StrategyCost cost{.parallel = config.parallel,
                    .peak_bytes = static_cast<double>(plan.ledger.peak_bytes())};
  for (size_t p = 0; p < phases.size(); ++p) {
    const double share =
        static_cast<double>(phases[p].steps) / static_cast<double>(config.train.steps);
    cost.bytes_sent += share * static_cast<double>(plan.steps[p].bytes_sent);
    cost.step_ms += share * 1e3 * plan.steps[p].times.total_s();
  }
  return cost;
}

StrategyCost Most(const StrategyCost& a, const StrategyCost& b) {
  return {.parallel = b.parallel,
          .bytes_sent = std::max(a.bytes_sent, b.bytes_sent),
          .step_ms = std::max(a.step_ms, b.step_ms),
          .peak_bytes = std::max(a.peak_bytes, b.peak_bytes)};
}

size_t ChooseStrategy(const std::vector<StrategyCost>& costs, int64_t budget_bytes) {
  const auto better = [budget_bytes](const StrategyCost& a, const StrategyCost& b) {
    const bool a_fits = Fits(a, budget_bytes), b_fits = Fits(b, budget_bytes);
    if (a_fits != b_fits) return a_fits;
    return std::tie(a.step_ms, a.bytes_sent) < std::tie(b.step_ms, b.bytes_sent);
  };
  return static_cast<size_t>(std::min_element(costs.begin(), costs.end(), better) - costs.begin());
}

StrategyChoice PlanStrategies(const RunConfig& config,
                              const std::function<StrategyCost(const RunConfig& config)>& cost) {
  StrategyChoice choice;
  RunConfig candidate = config;
  const std::vector<ParallelOptions> open =
      StrategyCandidates(config.parallel, config.model.num_attention_heads);
  for (const ParallelOptions& parallel : open) {
    candidate.parallel = parallel;
    choice.candidates.push_back(open.size() == 1 ? StrategyCost{.parallel = parallel}
                                                 : cost(candidate));
  }
  choice.chosen = ChooseStrategy(choice.candidates, config.memory.budget_bytes);
  return choice;
}

std::string DescribeChoice(const StrategyChoice& choice, int64_t budget_bytes) {
  const std::string chosen = DescribeStrategy(choice.parallel());
  if (choice.candidates.size() == 1) return chosen;
  const bool timed = choice.candidates[choice.chosen].step_ms > 0;
  const auto sent = [timed](const StrategyCost& cost) {
    const std::string bytes = FormatBytes(static_cast<int64_t>(cost.bytes_sent));
    return timed ? FormatDuration(cost.step_ms / 1e3) + " and " + bytes : bytes;
  };
  std::string others;
  for (const StrategyCost& cost : choice.candidates) {
    if (&cost == &choice.candidates[choice.chosen]) continue;
    others += fmt::format("{} {} {}{}", others.empty() ? ";" : ",", ShortName(cost.parallel),
                          sent(cost), Fits(cost, budget_bytes) ? "" : " but over the budget");
  }
  return fmt::format("{} ({} per step: {} a rank{})", chosen, timed ? "takes least" : "sends least",
                     sent(choice.candidates[choice.chosen]), others);
}

}  // namespace annulus::runtime
