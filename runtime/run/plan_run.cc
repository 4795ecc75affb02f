#include "runtime/run/plan_run.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "kernels/base/error.h"
#include "kernels/cuda/cuda_table.h"
#include "parallel/local_communicator.h"
#include "runtime/config/attention_mask.h"
#include "runtime/config/strategy.h"
#include "runtime/config/validate.h"
#include "runtime/io/format.h"
#include "runtime/machine/device_table.h"
#include "runtime/machine/machine_file.h"
#include "runtime/report/run_directory.h"
#include "runtime/run/rank_setup.h"
#include "runtime/run/roof.h"
#include "runtime/run/world_plan.h"

namespace annulus::runtime {
namespace {

// Bytes are tokens of text.
constexpr int64_t kTextVocabulary = 256;

int64_t FlopsOf(const StepCost& step) { return step.work.model_flops(); }

// What each phase costs on rank after rank.
void AddRank(const RankPlan& rank, std::vector<PhasePlan>& phases) {
  for (size_t p = 0; p < phases.size(); ++p) {
    const int64_t flops = FlopsOf(rank.steps[p]);
    phases[p].flops += static_cast<double>(flops);
    phases[p].attention_flops +=
        static_cast<double>(rank.steps[p].work[kernels::KernelClass::kAttention].flops);
    phases[p].busiest_rank_flops = std::max(phases[p].busiest_rank_flops, flops);
    phases[p].traffic_bytes += rank.steps[p].bytes_sent;
  }
}

// From the FLOPs counted: forward and backward take 4 + 10 per pair and element of a head.
double MaskArea(const FullPlan& plan, const PhasePlan& phase) {
  const auto of = [](int64_t count) { return static_cast<double>(count); };
  const double per_pair = 14.0 * of(plan.shape.query_size()) * of(plan.shape.num_hidden_layers);
  const double sequences = of(plan.config.train.GlobalBatch(phase.length));
  return phase.attention_flops / (per_pair * sequences * of(phase.length) * of(phase.length));
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
    if (cost.step_ms > 0) candidate["predicted_step_ms"] = cost.step_ms;
    json["candidates"].push_back(candidate);
  }
  return json;
}

void PredictByRoof(FullPlan& plan) {
  if (plan.config.device.kind == DeviceKind::kCuda && !kernels::CudaProblem().empty()) {
    ThrowConfigError(
        "a plan without a machine takes times from this machine's own device, and it has none "
        "that device.kind = cuda could use: name one by --machine FILE");
  }
  parallel::LocalGroup alone(1);
  const std::unique_ptr<kernels::KernelTable> table =
      MakeDeviceTable(plan.config.device, {.threads = std::max(plan.config.device.threads, 1)});
  const double roof = MeasureMatMulRoof(*table, plan.shape.dtype, *alone.Join(0));
  for (PhasePlan& phase : plan.phases) {
    phase.predicted_step_ms = 1e3 * static_cast<double>(phase.busiest_rank_flops) / roof;
  }
}

void PredictByMachine(const WorldPlan& world, FullPlan& plan) {
  for (size_t p = 0; p < plan.phases.size(); ++p) {
    plan.phases[p].times = world.Of(world.SlowestRank(p)).steps[p].times;
    plan.phases[p].predicted_step_ms = 1e3 * plan.phases[p].times.total_s();
  }
}

// What the slowest rank's step is made of.
std::string TimeTable(const FullPlan& plan) {
  TextTable table({{"tokens", Align::kRight},
                   {"predicted step", Align::kRight},
                   {"matmul", Align::kRight},
                   {"attention forward", Align::kRight},
                   {"backward", Align::kRight},
                   {"elementwise", Align::kRight},
                   {"copies", Align::kRight},
                   {"exposed", Align::kRight}});
  for (const PhasePlan& phase : plan.phases) {
    std::vector<std::string> cells = {FormatCount(phase.length),
                                      FormatDuration(phase.predicted_step_ms / 1e3)};
    for (int c = 0; c < kernels::kRateClasses; ++c) {
      cells.push_back(FormatDuration(phase.times.compute_of(static_cast<kernels::RateClass>(c))));
    }
    cells.push_back(FormatDuration(phase.times.copy_s));
    cells.push_back(FormatDuration(phase.times.exposed_s));
    table.AddRow(std::move(cells));
  }
  return fmt::format("\nthe slowest rank, by {} ({})\n{}", plan.config.machine, plan.machine->name,
                     table.ToString());
}

nlohmann::ordered_json TimesJson(const kernels::DryTimes& times) {
  nlohmann::ordered_json json;
  for (int c = 0; c < kernels::kRateClasses; ++c) {
    const auto work = static_cast<kernels::RateClass>(c);
    json[std::string(NameOf(work))] = 1e3 * times.compute_of(work);
  }
  json["copies"] = 1e3 * times.copy_s;
  return json;
}

// The time of a step, of a phase or of the plan.
void AddTimes(const FullPlan& plan, const PhasePlan& phase, nlohmann::ordered_json& json) {
  json["predicted_step_ms"] = phase.predicted_step_ms;
  json["predicted_by"] = plan.machine ? "machine" : "roof";
  json["predicted_exposed_comm_ms"] = nullptr;
  json["predicted_compute_ms"] = nullptr;
  if (!plan.machine) return;
  json["predicted_exposed_comm_ms"] = 1e3 * phase.times.exposed_s;
  json["predicted_compute_ms"] = TimesJson(phase.times);
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
  if (!given.machine.empty()) plan.machine = ReadMachineFile(given.machine);
  plan.shape =
      ShapeOf(plan.config, given.model.vocab_size > 0 ? given.model.vocab_size : kTextVocabulary);
  plan.config.model.vocab_size = plan.shape.vocab_size;
  const std::unique_ptr<kernels::KernelTable> modelled = ModelDeviceTable(given.device);
  const kernels::KernelTable& table = *modelled;
  for (const ContextPhase& phase : plan.config.train.Phases()) {
    plan.phases.push_back({.length = phase.length, .steps = phase.steps});
  }
  const MachineModel* machine = plan.machine ? &*plan.machine : nullptr;
  plan.sharing = PlanSharing(plan.config.parallel, ranks, machine);
  plan.strategy = ChooseStrategy(plan.config, plan.shape, table, ranks, machine, plan.sharing);
  plan.config.parallel = plan.strategy.parallel();
  plan.sharing = NarrowTo(plan.config.parallel, plan.sharing);
  const WorldPlan world = PlanWorld(plan.config, plan.shape, table, ranks, machine, plan.sharing);
  for (const RankPlan& rank : world.distinct) CheckBudget(plan.config, rank);
  for (int rank = 0; rank < ranks; ++rank) {
    plan.memory.push_back(PredictedMemory(plan.config, plan.shape, world.Of(rank)));
    plan.memory.back().rank = rank;
    AddRank(world.Of(rank), plan.phases);
  }
  for (PhasePlan& phase : plan.phases) {
    phase.balance = phase.flops / (static_cast<double>(phase.busiest_rank_flops) * ranks);
    phase.mask_area = MaskArea(plan, phase);
  }
  if (plan.machine) {
    PredictByMachine(world, plan);
  } else {
    PredictByRoof(plan);
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
  std::vector<TextTable::Column> columns = {
      {"tokens", Align::kRight},    {"steps", Align::kRight},
      {"mask area", Align::kRight}, {"FLOPs per step", Align::kRight},
      {"balance", Align::kRight},   {"sent per step", Align::kRight}};
  if (!plan.machine) columns.push_back({"step at this machine's roof", Align::kRight});
  TextTable table(std::move(columns));
  for (const PhasePlan& phase : plan.phases) {
    std::vector<std::string> cells = {FormatCount(phase.length),
                                      FormatCount(phase.steps),
                                      fmt::format("{:.2f}%", 100 * phase.mask_area),
                                      FormatRate(phase.flops, "FLOP"),
                                      fmt::format("{:.1f}%", 100 * phase.balance),
                                      FormatBytes(phase.traffic_bytes)};
    if (!plan.machine) cells.push_back(FormatDuration(phase.predicted_step_ms / 1e3));
    table.AddRow(std::move(cells));
  }
  text += "strategy: " + DescribeChoice(plan.strategy, plan.config.memory.budget_bytes) + "\n";
  if (plan.memory.size() > 1) text += "keys: " + plan.sharing.text + "\n";
  text += "mask: " + DescribeMask(plan.config.attention) + "\n" + table.ToString();
  if (plan.machine) text += TimeTable(plan);
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
  json["keys_in_place"] = plan.sharing.on();
  json["phases"] = nlohmann::ordered_json::array();
  for (const PhasePlan& phase : plan.phases) {
    json["phases"].push_back({{"sequence_length", phase.length},
                              {"steps", phase.steps},
                              {"mask_area", phase.mask_area},
                              {"flops", phase.flops},
                              {"busiest_rank_flops", phase.busiest_rank_flops},
                              {"balance", phase.balance},
                              {"traffic_bytes", phase.traffic_bytes}});
    AddTimes(plan, phase, json["phases"].back());
  }
  // The last phase's, the longest context of the run.
  const PhasePlan& last = plan.phases.back();
  json["flops"] = last.flops;
  json["flops_are_most"] = plan.flops_are_most();
  json["traffic_bytes"] = last.traffic_bytes;
  AddTimes(plan, last, json);
  return json;
}

}  // namespace annulus::runtime
