#include "runtime/bench/scaling_case.h"

#include <array>

#include "runtime/bench/stopwatch.h"
#include "runtime/config/strategy.h"
#include "runtime/config/validate.h"
#include "runtime/machine/machine_model.h"
#include "runtime/memory/arena.h"
#include "runtime/run/rank_setup.h"
#include "runtime/run/world_plan.h"
#include "runtime/train/program.h"

namespace annulus::runtime {
namespace {

// Bytes are tokens, where the configuration names no vocabulary.
constexpr int64_t kTextVocabulary = 256;

std::vector<int> RankCounts(int ranks) {
  std::vector<int> counts;
  for (int count = 1; count < ranks; count *= 2) counts.push_back(count);
  counts.push_back(ranks);
  return counts;
}

ScalingCase CaseOf(const RunConfig& given, ScalingMode mode, int ranks,
                   std::span<const std::string> hosts) {
  ScalingCase scaling{.config = given, .shape = {}, .row = {.mode = mode, .ranks = ranks}};
  RunConfig& config = scaling.config;
  config.ranks = 0;
  config.parallel.context_size = ranks;
  config.train.context_schedule = {};
  if (mode == ScalingMode::kWeak) config.train.sequence_length *= ranks;
  if (config.model.vocab_size == 0) config.model.vocab_size = kTextVocabulary;
  if (ranks == 1) config.parallel = OnOneRank(config.parallel);
  Validate(config, ranks);
  ResolveNodes(config.parallel, hosts.first(static_cast<size_t>(ranks)));
  scaling.shape = ShapeOf(config, config.model.vocab_size);
  scaling.row.n = config.train.sequence_length;
  scaling.open = config.parallel;
  return scaling;
}

// Tokens that depend on their position alone, so that ranks agree without data.
class RandomTokens {
 public:
  RandomTokens(kernels::Kernels& kernels, int context_rank, int64_t vocabulary)
      : kernels_(kernels), context_rank_(context_rank), vocabulary_(vocabulary) {}

  int64_t Load(const SequenceRange& sequences, SequenceShape& shape, kernels::View tokens,
               kernels::View labels) {
    const kernels::Positions positions = shape.partition.PositionsOf(context_rank_);
    tokens_.clear();
    labels_.clear();
    int64_t targets = 0;
    for (int64_t b = 0; b < sequences.count; ++b) {
      for (int64_t t = 0; t < shape.tokens(); ++t) {
        const int64_t position = positions.at(t);
        const bool has_target = position + 1 < shape.partition.length();
        tokens_.push_back(TokenAt(sequences.first + b, position));
        labels_.push_back(has_target ? TokenAt(sequences.first + b, position + 1) : -1);
        targets += has_target ? 1 : 0;
      }
    }
    kernels_.CopyFromHost(tokens_.data(), tokens);
    kernels_.CopyFromHost(labels_.data(), labels);
    return targets;
  }

 private:
  // A multiplicative hash (Knuth).
  int32_t TokenAt(int64_t sequence, int64_t position) const {
    const auto mixed = static_cast<uint64_t>(sequence * 1000003 + position) * 0x9e3779b97f4a7c15ULL;
    return static_cast<int32_t>((mixed >> 33) % static_cast<uint64_t>(vocabulary_));
  }

  kernels::Kernels& kernels_;
  int context_rank_;
  int64_t vocabulary_;
  std::vector<int32_t> tokens_;
  std::vector<int32_t> labels_;
};

}  // namespace

std::vector<ScalingCase> ScalingCases(const RunConfig& config, std::span<const std::string> hosts) {
  const auto ranks = static_cast<int>(hosts.size());
  std::vector<ScalingCase> cases;
  for (const ScalingMode mode : config.bench.mode) {
    for (const int count : RankCounts(ranks)) cases.push_back(CaseOf(config, mode, count, hosts));
  }
  return cases;
}

void Forecast(const kernels::KernelTable& table, const MachineModel* machine,
              ScalingCase& scaling) {
  ScalingRow& row = scaling.row;
  row.flops = 0;
  scaling.config.parallel = scaling.open;
  scaling.config.parallel =
      ChooseStrategy(scaling.config, scaling.shape, table, row.ranks, machine, scaling.sharing)
          .parallel();
  scaling.sharing = NarrowTo(scaling.config.parallel, scaling.sharing);
  row.strategy = ShortName(scaling.config.parallel);
  const WorldPlan plan =
      PlanWorld(scaling.config, scaling.shape, table, row.ranks, machine, scaling.sharing);
  for (int rank = 0; rank < row.ranks; ++rank) {
    row.flops += static_cast<double>(plan.Of(rank).steps.front().work.model_flops());
  }
  row.predicted_bytes_sent = plan.BytesSent(0);
  if (machine == nullptr) return;
  const kernels::DryTimes times = plan.Of(plan.SlowestRank(0)).steps.front().times;
  row.predicted_ms = 1e3 * times.total_s();
  row.predicted_exposed_comm_ms = 1e3 * times.exposed_s;
}

namespace {

RankPlace PlaceOf(const ScalingCase& scaling, const parallel::Communicator& group) {
  return {.context_rank = group.rank(),
          .context_size = group.size(),
          .memory_nodes = scaling.sharing.nodes};
}

ArenaSize SizeOf(const ScalingCase& scaling, const kernels::KernelTable& table,
                 const parallel::Communicator& group) {
  return runtime::SizeOf(
      PlanRank(scaling.config, scaling.shape, table, PlaceOf(scaling, group)).ledger);
}

}  // namespace

void FitRoom(const kernels::KernelTable& table, const MachineModel* machine,
             parallel::Communicator& group, ScalingCase& scaling) {
  const bool shared = scaling.sharing.on();
  scaling.sharing =
      WithRoom(scaling.open, scaling.sharing, SizeOf(scaling, table, group).node_bytes, group);
  if (shared && !scaling.sharing.on()) Forecast(table, machine, scaling);
}

StepSample MeasureStep(const ScalingCase& scaling, kernels::KernelTable& table, Roof& roof,
                       parallel::Communicator& group) {
  group.ShareMemory(scaling.sharing.nodes);
  const ArenaSize size = SizeOf(scaling, table, group);
  Arena arena(size, table.ReserveTensorMemory(size.bytes), group);
  Program program(scaling.config, scaling.shape,
                  {.table = table, .memory = arena, .world = group, .context = group});
  program.Initialize();
  RandomTokens random(program.kernels(), group.rank(), scaling.shape.vocab_size);
  const auto step = [&](int64_t index) {
    program.Step(index, scaling.row.n, 0,
                 [&](const SequenceRange& range, SequenceShape& shape, kernels::View tokens,
                     kernels::View labels) { return random.Load(range, shape, tokens, labels); });
  };
  step(0);
  const double roof_s = SecondsTogether(roof, Clock::kWall, group);
  group.Barrier();
  const parallel::CommCounters before = group.all_counters();
  const double seconds = SecondsOf(Clock::kWall, [&] {
    step(1);
    table.Wait();
  });
  const parallel::CommCounters after = group.all_counters();
  std::array<double, 2> slowest{1e3 * seconds, after.wait_ms - before.wait_ms};
  std::array<double, 1> sent{static_cast<double>(after.bytes_sent - before.bytes_sent)};
  group.AllReduceMax(slowest);
  group.AllReduceSum(sent);
  return {.roof_s = roof_s,
          .ms = slowest[0],
          .exposed_ms = slowest[1],
          .bytes_sent = static_cast<int64_t>(sent[0])};
}

}  // namespace annulus::runtime
