#include "runtime/run/train_run.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <nlohmann/json.hpp>
#include <optional>

#include "runtime/config/attention_mask.h"
#include "runtime/config/parse.h"
#include "runtime/config/render.h"
#include "runtime/config/strategy.h"
#include "runtime/data/entropy.h"
#include "runtime/io/format.h"
#include "runtime/machine/placement_advice.h"
#include "runtime/memory/arena.h"
#include "runtime/memory/os_memory.h"
#include "runtime/report/console.h"
#include "runtime/report/memory_report.h"
#include "runtime/report/report_files.h"
#include "runtime/report/run_directory.h"
#include "runtime/run/job_placement.h"
#include "runtime/run/rank_setup.h"
#include "runtime/run/roof.h"
#include "runtime/run/together.h"
#include "runtime/train/trainer.h"

namespace annulus::runtime {
namespace {

std::vector<ModelFlops> ModelFlopsPerStep(const RankSetup& setup, parallel::Communicator& world) {
  RunConfig config = setup.config;
  config.memory.recompute = Recompute::kNone;
  const RankPlan plan = PlanRank(config, setup.shape, *setup.table, setup.place());
  std::vector<ModelFlops> flops;
  for (const StepCost& step : plan.steps) {
    const auto of = [&](kernels::KernelClass c) { return static_cast<double>(step.work[c].flops); };
    std::array<double, 2> sums{of(kernels::KernelClass::kMatMul),
                               kModelShareOfAttention * of(kernels::KernelClass::kAttention)};
    world.AllReduceSum(sums);
    flops.push_back({.matmul = sums[0], .attention = sums[1]});
  }
  return flops;
}

// Lets `observer` observe `world` for as long as this lives.
class Observed {
 public:
  Observed(parallel::Communicator& world, parallel::Observer& observer) : world_(world) {
    world_.Observe(&observer);
  }
  Observed(const Observed&) = delete;
  Observed& operator=(const Observed&) = delete;
  ~Observed() { world_.Observe(nullptr); }

 private:
  parallel::Communicator& world_;
};

// One rank's training run: what it holds, in the order in which it comes to be.
class TrainRun {
 public:
  TrainRun(const RunConfig& config, parallel::Communicator& world)
      : start_(std::chrono::steady_clock::now()),
        setup_(SetUpRank(config, world)),
        world_(setup_.world()),
        memory_(PredictedMemory(setup_.config, setup_.shape, setup_.plan)) {
    memory_.host = setup_.host;
  }

  void Run() {
    OpenOutput();
    const ModelCost cost = MeasureCost();
    PrintStartUp(cost);
    const MemoryBaseline baseline = ReadMemoryBaseline(*setup_.table);

    Arena arena = setup_.ReserveArena();
    const RankEnvironment environment = setup_.Environment(arena);
    Program program(setup_.config, setup_.shape, environment);
    program.Initialize();
    std::optional<ConsoleObserver> observer;
    if (reports()) {
      observer.emplace(ConsoleObserver::Setup{.directory = *directory_,
                                              .log_every = setup_.config.train.log_every,
                                              .is_task = is_task(),
                                              .hosts = HostsOf(setup_.placements)});
    }
    const bool traces = !setup_.config.trace.empty();
    TraceRecorder trace;
    ActivityRecorder activity(traces ? &trace : nullptr);
    const Observed observed(world_, activity);
    Trainer trainer({.config = setup_.config,
                     .dataset = *setup_.dataset,
                     .environment = environment,
                     .ledger = arena.ledger(),
                     .cost = cost,
                     .activity = activity,
                     .trace = traces ? &trace : nullptr,
                     .first_traced = std::min<int64_t>(2, setup_.config.train.steps),
                     .traced = setup_.config.train.trace_steps},
                    program, observer ? &*observer : nullptr);
    const TrainReport report = trainer.Run();

    AddMeasuredMemory(arena, baseline, *setup_.table, memory_);
    const std::vector<RankMemory> ranks = GatherMemory();
    const std::vector<RankActivity> activities = GatherActivity(activity);
    if (traces) WriteTrace(trace);
    if (reports()) WriteResults(program, report, {ranks, activities});
    world_.Barrier();
  }

 private:
  bool reports() const { return world_.rank() == 0; }
  bool is_task() const { return !setup_.config.data.synthetic.empty(); }

  // Rank 0 makes the output directory; all hear of it when it cannot.
  void OpenOutput() {
    TryTogether(world_, [&] {
      if (!reports()) return;
      directory_.emplace(OutputDirectory(setup_.config), ResolvedIni(setup_.config));
      // Whether a trace can be written shows now, not after the last step.
      WriteTraceReport(setup_.config, TraceJson({}));
    });
  }

  ModelCost MeasureCost() {
    ModelCost cost{.flops_per_step = ModelFlopsPerStep(setup_, world_)};
    cost.roof_flops_per_s = MeasureMatMulRoof(*setup_.table, setup_.shape.dtype, world_);
    return cost;
  }

  std::vector<RankMemory> GatherMemory() {
    std::vector<RankMemory> ranks;
    for (const auto& json : GatherJson(world_, ToJson(memory_))) {
      ranks.push_back(RankMemoryFromJson(json));
    }
    return ranks;
  }

  std::vector<RankActivity> GatherActivity(const ActivityRecorder& activity) {
    const RankActivity mine = activity.Mean(world_.rank(), setup_.host);
    std::vector<RankActivity> ranks;
    for (const auto& json : GatherJson(world_, ToJson(mine))) {
      ranks.push_back(RankActivityFromJson(json));
    }
    return ranks;
  }

  std::vector<RankDevice> GatherDevices() {
    const nlohmann::ordered_json mine = {world_.rank(), setup_.place().data_index,
                                         setup_.place().context_rank, setup_.host,
                                         setup_.table->Name()};
    std::vector<RankDevice> devices;
    for (const auto& json : GatherJson(world_, mine)) {
      devices.push_back({json[0], json[1], json[2], json[3], json[4]});
    }
    return devices;
  }

  void PrintStartUp(const ModelCost& cost) {
    const std::vector<RankDevice> devices = GatherDevices();
    const std::vector<RankMemory> ranks = GatherMemory();
    if (!reports()) return;
    fmt::print("{}\n{}\n", StartUpTable(StartUpRows(cost), setup_.table->Choices(), devices),
               PredictedMemoryTable(ranks));
    for (const std::string& advice : PlacementAdvice(setup_.placements)) {
      fmt::print("warning: {}\n", advice);
    }
  }

  std::vector<StartUpRow> StartUpRows(const ModelCost& cost) const;
  std::string MaskText() const;
  struct Ranks {
    const std::vector<RankMemory>& memory;
    const std::vector<RankActivity>& activity;
  };
  void WriteResults(Program& program, const TrainReport& report, const Ranks& ranks);
  void WriteTrace(const TraceRecorder& trace);
  // Of the very targets that the held-out loss is the mean of.
  EntropyCounter CountHeldOut(int64_t sequences) const;

  std::chrono::steady_clock::time_point start_;
  RankSetup setup_;
  parallel::Communicator& world_;
  RankMemory memory_;
  std::optional<RunDirectory> directory_;  // of the rank that reports
};

std::vector<StartUpRow> TrainRun::StartUpRows(const ModelCost& cost) const {
  const RunConfig& config = setup_.config;
  const RankPlace place = setup_.place();
  const ParameterLayout layout(setup_.shape);
  const parallel::Partition partition =
      PartitionOf(config.parallel, config.train.sequence_length, place.context_size);
  std::string schedule;
  for (const ContextPhase& phase : config.train.Phases()) {
    schedule += fmt::format("{}{} tokens x {} steps", schedule.empty() ? "" : ", ", phase.length,
                            phase.steps);
  }
  std::vector<StartUpRow> rows = {
      {"data", setup_.dataset->Describe()},
      {"model", fmt::format("{} parameters, {} layers, hidden {}, {} heads over {} key/value heads",
                            FormatCount(layout.parameter_count()), setup_.shape.num_hidden_layers,
                            setup_.shape.hidden_size, setup_.shape.num_attention_heads,
                            setup_.shape.num_key_value_heads)},
      {"ranks", fmt::format("{} = {} data x {} context, over {}", world_.size(), place.data_size,
                            place.context_size, world_.Name())},
      {"strategy", DescribeChoice(setup_.strategy, config.memory.budget_bytes)},
      {"sequence", fmt::format("{} partition of {} tokens: {} per rank, {} of padding in all",
                               NameOf(partition.kind()), FormatCount(partition.length()),
                               FormatCount(partition.local_tokens()), partition.padding_tokens())},
      {"mask", MaskText()},
      {"step", fmt::format("{} tokens; {}", FormatCount(config.train.tokens_per_step()), schedule)},
      {"mfu roof", fmt::format("{}, large {} matrix products on all ranks at once",
                               FormatRate(cost.roof_flops_per_s, "FLOP/s"),
                               kernels::NameOf(setup_.shape.dtype))},
      {"output", directory_->path().string()},
  };
  if (world_.size() > 1) rows.insert(rows.begin() + 4, {"keys", setup_.sharing.text});
  return rows;
}

std::string TrainRun::MaskText() const {
  const RunConfig& config = setup_.config;
  const std::string mask = DescribeMask(config.attention);
  if (config.attention.mask != kernels::MaskKind::kDocuments) return mask;
  const int64_t most = setup_.dataset->MostDocuments(config.train.sequence_length);
  return fmt::format("{}: {} in a sequence{}", mask,
                     most == 1 ? "one" : fmt::format("up to {}", FormatCount(most)),
                     most == 1 ? ", as if it were causal" : "");
}

EntropyCounter TrainRun::CountHeldOut(int64_t sequences) const {
  EntropyCounter counter(setup_.shape.vocab_size);
  const int64_t length = setup_.config.train.sequence_length;
  constexpr int64_t kPieceTokens = 8192;
  std::vector<int32_t> tokens(kPieceTokens), labels(kPieceTokens);
  for (int64_t s = 0; s < sequences; ++s) {
    for (int64_t first = 0; first < length; first += kPieceTokens) {
      const int64_t count = std::min(kPieceTokens, length - first);
      setup_.dataset->HeldOutSequence(s, length, kernels::Positions({first, 1, count}),
                                      tokens.data(), labels.data());
      counter.Add(tokens.data(), labels.data(), count);
    }
  }
  return counter;
}

void TrainRun::WriteTrace(const TraceRecorder& trace) {
  std::vector<RankTrace> ranks;
  for (const auto& json :
       GatherJson(world_, {world_.rank(), setup_.host, trace.Events(world_.rank())})) {
    ranks.push_back({.rank = json[0], .host = json[1], .events = json[2]});
  }
  if (reports()) WriteTraceReport(setup_.config, TraceJson(ranks));
}

void TrainRun::WriteResults(Program& program, const TrainReport& report, const Ranks& ranks) {
  RunSummary summary{
      .train = report, .parameters = program.layout().parameter_count(), .is_task = is_task()};
  if (!is_task()) {
    const EntropyCounter counter = CountHeldOut(report.held_out.sequences);
    summary.unigram_nats = counter.unigram_nats();
    summary.bigram_nats = counter.bigram_nats();
  }
  directory_->WriteMemory(ranks.memory);
  directory_->WriteActivity(ranks.activity);
  directory_->WriteModel(setup_.shape, setup_.config.train.sequence_length, program.layout(),
                         program.kernels(), program.parameters());
  summary.wall_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  directory_->WriteSummary(summary);
  const std::string activity = ActivityTable(ranks.activity);
  fmt::print("\n{}\n{}{}{}results in       {}\n", MemoryTable(ranks.memory), activity,
             activity.empty() ? "" : "\n", SummaryText(summary), directory_->path().string());
  if (!setup_.config.trace.empty()) fmt::print("trace in         {}\n", setup_.config.trace);
}

}  // namespace

void TrainOnRank(const RunConfig& config, parallel::Communicator& world) {
  TrainRun(config, world).Run();
}

}  // namespace annulus::runtime
