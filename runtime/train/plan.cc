#include "runtime/train/plan.h"

#include <numeric>

#include "kernels/dry/dry_table.h"
#include "parallel/dry_communicator.h"
#include "runtime/io/format.h"
#include "runtime/memory/arena.h"

namespace annulus::runtime {
namespace {

kernels::KernelCounters Difference(const kernels::KernelCounters& after,
                                   const kernels::KernelCounters& before) {
  kernels::KernelCounters work;
  for (size_t c = 0; c < work.classes.size(); ++c) {
    work.classes[c] = {.calls = after.classes[c].calls - before.classes[c].calls,
                       .flops = after.classes[c].flops - before.classes[c].flops,
                       .bytes = after.classes[c].bytes - before.classes[c].bytes};
  }
  return work;
}

// The world ranks that share the sequences of the planned one.
std::vector<int> ContextOf(const RankPlace& place) {
  std::vector<int> members(static_cast<size_t>(place.context_size));
  std::iota(members.begin(), members.end(), place.data_index * place.context_size);
  return members;
}

}  // namespace

RankPlan PlanRank(const RunConfig& config, const DecoderShape& shape,
                  const kernels::KernelTable& modelled, const RankPlace& place,
                  const MachineModel* machine) {
  kernels::DryClock clock(machine == nullptr ? nullptr : &machine->compute);
  kernels::DryTable table(modelled, &clock);
  Arena memory = Arena::Dry();
  parallel::LinkClock links(clock, machine == nullptr ? nullptr : &machine->network,
                            place.world_rank());
  parallel::DryCommunicator world(place.world_size(), links);
  world.ShareMemory(place.memory_nodes);
  const std::unique_ptr<parallel::Communicator> context_group = world.Subgroup(ContextOf(place));
  parallel::Communicator& context = *context_group;
  Program program(config, shape,
                  {.table = table,
                   .memory = memory,
                   .world = world,
                   .context = context,
                   .data_index = place.data_index,
                   .data_size = place.data_size});
  const BatchLoader load = [](const SequenceRange&, SequenceShape&, View, View) {
    return int64_t{0};
  };

  RankPlan plan{.place = place, .ledger = {}, .steps = {}};
  for (const ContextPhase& phase : config.train.Phases()) {
    const kernels::KernelCounters work = program.kernels().counters();
    const parallel::CommCounters sent = program.traffic();
    const kernels::DryTimes times_before = clock.times();
    program.Step(0, phase.length, 0, load);
    plan.steps.push_back({.length = phase.length,
                          .work = Difference(program.kernels().counters(), work),
                          .bytes_sent = program.traffic().bytes_sent - sent.bytes_sent,
                          .messages = program.traffic().messages - sent.messages,
                          .peak_bytes = memory.ledger().peak_bytes(),
                          .times = clock.times() - times_before});
  }
  const int64_t batch = config.train.MicroBatch(config.train.sequence_length);
  program.Evaluate(config.train.sequence_length, batch * place.data_size, load,
                   [](const SequenceRange&, const SequenceShape&, ConstView, ConstView) {});
  plan.ledger = memory.ledger();
  plan.fingerprint = clock.fingerprint();
  return plan;
}

void CheckBudget(const RunConfig& config, const RankPlan& plan) {
  const int64_t budget = config.memory.budget_bytes;
  if (budget == 0 || plan.ledger.peak_bytes() <= budget) return;
  ThrowConfigError(
      "rank {} would need {} ({} of it for activations), over memory.budget_bytes = {}: use more "
      "ranks, a shorter train.sequence_length, a smaller train.micro_batch_size or "
      "memory.recompute = block",
      plan.place.world_rank(), FormatBytes(plan.ledger.peak_bytes()),
      FormatBytes(plan.ledger.peak_activation_bytes()), FormatBytes(budget));
}

}  // namespace annulus::runtime
