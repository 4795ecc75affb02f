// The plan of a whole run: every rank's step, run dry on one core, for any number of ranks.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "runtime/config/run_config.h"
#include "runtime/report/memory_report.h"
#include "runtime/run/memory_sharing.h"
#include "runtime/train/strategy_choice.h"

namespace annulus::runtime {

// The cost of one step of a phase, over all ranks.
struct PhasePlan {
  int64_t length = 0;
  int64_t steps = 0;
  // Of all ranks, which can be more than 64 bits count; see FullPlan::flops_are_most.
  double flops = 0;
  double attention_flops = 0;
  int64_t busiest_rank_flops = 0;
  int64_t traffic_bytes = 0;  // sent by all ranks
  double balance = 1;         // mean over busiest rank's FLOPs
  double mask_area = 1;       // (query, key) pairs the mask allows, of all n x n
  // Of the slowest rank by the machine's rates, where a machine file is given. Without one,
  // busiest_rank_flops at the rate of this machine's large matrix products, threads as planned: a
  // lower bound where ranks run on machines like this one.
  double predicted_step_ms = 0;
  kernels::DryTimes times =
      {};  // what the slowest rank's step is made of; 0 without a machine file
};

struct FullPlan {
  RunConfig config;  // resolved
  DecoderShape shape;
  StrategyChoice strategy = {};  // config has what it chose
  MemorySharing sharing = {};
  std::vector<RankMemory> memory = {};
  std::vector<PhasePlan> phases = {};
  std::optional<MachineModel> machine = {};

  // Where documents start is in the data, which a plan does not read. It takes every sequence for
  // one document: FLOPs, area and time are then the most there can be; bytes and traffic are exact.
  bool flops_are_most() const { return config.attention.mask == kernels::MaskKind::kDocuments; }
};

// `config.ranks` ranks (1 where not set). Opens no data: text has 256 tokens, a model of another
// vocabulary names it. Throws ConfigError for a configuration that no run can follow or that
// exceeds the memory budget.
FullPlan MakePlan(const RunConfig& config);

std::string PlanText(const FullPlan& plan);
nlohmann::ordered_json ToJson(const FullPlan& plan);

}  // namespace annulus::runtime
