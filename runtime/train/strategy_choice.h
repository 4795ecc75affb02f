// Which of the strategies that a configuration leaves open a run follows, by a plan of each.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "runtime/train/plan.h"

namespace annulus::runtime {

// What one candidate costs the rank that it costs most.
struct StrategyCost {
  ParallelOptions parallel = {};  // resolved
  double bytes_sent = 0;          // in a step, the mean over all steps of the run
  double step_ms = 0;             // likewise, predicted; 0 without a machine
  double peak_bytes = 0;
};

// A candidate's bytes and peak on one rank, from its plan.
StrategyCost CostOf(const RunConfig& config, const RankPlan& plan);

// The same candidate on the rank that it costs more.
StrategyCost Most(const StrategyCost& a, const StrategyCost& b);

// The index of the one to follow, of those whose peak keeps within `budget_bytes` (0: no limit), or
// of all where none does: the least time where it is predicted, then the least traffic. The first
// of equals. Requires at least one.
size_t ChooseStrategy(const std::vector<StrategyCost>& costs, int64_t budget_bytes);

struct StrategyChoice {
  std::vector<StrategyCost> candidates;  // one: there was nothing to choose
  size_t chosen = 0;

  const ParallelOptions& parallel() const { return candidates.at(chosen).parallel; }
};

// Plans every candidate of `config` (validated) by `cost`, which says what the config given to it
// costs the rank that it costs most; not called where there is one candidate.
StrategyChoice PlanStrategies(const RunConfig& config,
                              const std::function<StrategyCost(const RunConfig& config)>& cost);

// As in "hybrid: heads over 2 ranks, keys round 4 ranks (sends least per step: 12 MiB a rank; ring
// 20 MiB, ulysses 15 MiB)".
std::string DescribeChoice(const StrategyChoice& choice, int64_t budget_bytes);

}  // namespace annulus::runtime
