#include "runtime/run/plan_run.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "kernels/base/error.h"
#include "kernels/cpu/cpu_table.h"
#include "parallel/local_communicator.h"
#include "runtime/config/attention_mask.h"
#include "runtime/config/strategy.h"
#include "runtime/config/validate.h"
#include "runtime/io/format.h"
#include "runtime/report/run_directory.h"
#include "runtime/run/rank_setup.h"
#include "runtime/run/roof.h"

namespace annulus::runtime {
namespace {

// Bytes are tokens of text.
constexpr int64_t kTextVocabulary = 256;

int64_t FlopsOf(const StepCost& step) { return step.work.model_flops(); }

RankPlace PlaceOf(const RunConfig& config, int rank, int ranks) {
  const int context_size = config.parallel.context_size;
  return {.context_rank = rank % context_size,
          .context_size = context_size,
          .data_index = rank / context_size,
          .data_size = ranks / context_size};
}

// What each phase costs on rank after rank.
void AddRank(const RankPlan& rank, std::vector<PhasePlan>& phases) {
  for (size_t p = 0; p < phases.size(); ++p) {
    const int64_t flops = FlopsOf(rank.steps[p]);
    phases[p].flops += flops;
    phases[p].attention_flops += rank.steps[p].work[kernels::KernelClass::kAttention].flops;
    phases[p].busiest_rank_flops = std::max(phases[p].busiest_rank_flops, flops);
    phases[p].traffic_bytes += rank.steps[p].bytes_sent;
  }
}

// From the FLOPs counted: forward and backward take 4 + 10 per pair and element of a head.
double MaskArea(const FullPlan& plan, const PhasePlan& phase) {
  const auto of = [](int64_t count) { return static_cast<double>(count); };
  const double per_pair = 14.0 * of(plan.shape.query_size()) * of(plan.shape.num_hidden_layers);
  const double sequences = of(plan.config.train.GlobalBatch(phase.length));
  return of(phase.attention_flops) / (per_pair * sequences * of(phase.length) * of(phase.length));
}

nlohmann::ordered_json StrategyJson(const StrategyChoice& choice) {
  const auto to_json = [](const StrategyCost& cost) {
    return nlohmann::ordered_json{{"name", NameOf(cost.parallel.strategy)},
                                  {"ulysses_size", cost.parallel.ulysses_size}};
  };
  nlohmann::ordered_json json = to_json(choice.candidates.at(choice.chosen));
  if (choice.candidates.size() == 1) return json;
  json["candidates"] = nlohmann::ordered_json::array();
  for (const StrategyCost& cost : choice.candidates) {
    nlohmann::ordered_json candidate = to_json(cost);
    candidate["bytes_sent"] = cost.bytes_sent;
    candidate["peak_bytes"] = cost.peak_bytes;
    json["candidates"].push_back(candidate);
  }
  return json;
}

}  // namespace

FullPlan MakePlan(const RunConfig& given) {
  const int ranks = std::max(given.ranks, 1);
  FullPlan plan{.config = given, .shape = {}};
  Validate(plan.config, ranks);
  if (NeedsNodes(plan.config.parallel)) {
    ThrowConfigError(
        "parallel.strategy = {} goes by nodes, and a plan does not see where ranks will be placed: "
        "say by parallel.node_size how many of a context group share a node",
        NameOf(plan.config.parallel.strategy));
  }
  plan.shape =
      ShapeOf(plan.config, given.model.vocab_size > 0 ? given.model.vocab_size : kTextVocabulary);
  plan.config.model.vocab_size = plan.shape.vocab_size;
  kernels::CpuTable table(std::max(given.device.threads, 1));
  for (const ContextPhase& phase : plan.config.train.Phases()) {
    plan.phases.push_back({.length = phase.length, .steps = phase.steps});
  }
  const auto plan_rank = [&](const RunConfig& config, int rank) {
    return PlanRank(config, plan.shape, table, PlaceOf(config, rank, ranks));
  };
  plan.strategy = PlanStrategies(plan.config, [&](const RunConfig& candidate) {
    StrategyCost most;
    for (int rank = 0; rank < candidate.parallel.context_size; ++rank) {
      most = Most(most, CostOf(candidate, plan_rank(candidate, rank)));
    }
    return most;
  });
  plan.config.parallel = plan.strategy.parallel();
  for (int rank = 0; rank < ranks; ++rank) {
    const RankPlan rank_plan = plan_rank(plan.config, rank);
    CheckBudget(plan.config, rank_plan);
    plan.memory.push_back(PredictedMemory(plan.config, plan.shape, rank_plan));
    AddRank(rank_plan, plan.phases);
  }
  parallel::LocalGroup alone(1);
  const double roof = MeasureMatMulRoof(table, plan.shape.dtype, *alone.Join(0));
  for (PhasePlan& phase : plan.phases) {
    phase.balance =
        static_cast<double>(phase.flops) / (static_cast<double>(phase.busiest_rank_flops) * ranks);
    phase.mask_area = MaskArea(plan, phase);
    phase.predicted_step_ms = 1e3 * static_cast<double>(phase.busiest_rank_flops) / roof;
  }
  return plan;
}

std::string PlanText(const FullPlan& plan) {
  const ParameterLayout layout(plan.shape);
  std::string text = fmt::format("{} parameters on {} ranks, {} of them to a sequence\n\n",
                                 FormatCount(layout.parameter_count()), plan.memory.size(),
                                 plan.config.parallel.context_size) +
                     PredictedMemoryTable(plan.memory) +
                     fmt::format("score matrix avoided: {} per rank\n\n",
                                 FormatBytes(plan.memory.front().score_matrix_bytes));
  TextTable table({{"tokens", Align::kRight},
                   {"steps", Align::kRight},
                   {"mask area", Align::kRight},
                   {"FLOPs per step", Align::kRight},
                   {"balance", Align::kRight},
                   {"sent per step", Align::kRight},
                   {"step at this machine's roof", Align::kRight}});
  for (const PhasePlan& phase : plan.phases) {
    table.AddRow({FormatCount(phase.length), FormatCount(phase.steps),
                  fmt::format("{:.2f}%", 100 * phase.mask_area),
                  FormatRate(static_cast<double>(phase.flops), "FLOP"),
                  fmt::format("{:.1f}%", 100 * phase.balance), FormatBytes(phase.traffic_bytes),
                  FormatDuration(phase.predicted_step_ms / 1e3)});
  }
  text += "strategy: " + DescribeChoice(plan.strategy, plan.config.memory.budget_bytes) + "\n";
  text += "mask: " + DescribeMask(plan.config.attention) + "\n" + table.ToString();
  if (plan.flops_are_most()) {
    text +=
        "Where documents start is in the data: mask area, FLOPs, balance and time are those of "
        "one\n"
        "document per sequence, the most there can be. Bytes are exact.\n";
  }
  return text;
}

nlohmann::ordered_json ToJson(const FullPlan& plan) {
  nlohmann::ordered_json json = MemoryJson(plan.memory);
  json["strategy"] = StrategyJson(plan.strategy);
  json["phases"] = nlohmann::ordered_json::array();
  for (const PhasePlan& phase : plan.phases) {
    json["phases"].push_back({{"sequence_length", phase.length},
                              {"steps", phase.steps},
                              {"mask_area", phase.mask_area},
                              {"flops", phase.flops},
                              {"busiest_rank_flops", phase.busiest_rank_flops},
                              {"balance", phase.balance},
                              {"traffic_bytes", phase.traffic_bytes},
                              {"predicted_step_ms", phase.predicted_step_ms}});
  }
  // The last phase's, the longest context of the run.
  const PhasePlan& last = plan.phases.back();
  json["flops"] = last.flops;
  json["flops_are_most"] = plan.flops_are_most();
  json["traffic_bytes"] = last.traffic_bytes;
  json["predicted_step_ms"] = last.predicted_step_ms;
  return json;
}

}  // namespace annulus::runtime
