// What a step will cost, found by running it dry: the same program against tables that only count,
// and that price what they count where a machine is given.
#pragma once

#include <vector>

#include "kernels/base/dry_clock.h"
#include "kernels/base/kernels.h"
#include "runtime/machine/machine_model.h"
#include "runtime/memory/ledger.h"
#include "runtime/train/program.h"

namespace annulus::runtime {

// Where the planned rank stands.
struct RankPlace {
  int context_rank = 0;
  int context_size = 1;
  int data_index = 0;
  int data_size = 1;
  std::vector<int> memory_nodes = {};  // as Communicator::ShareMemory takes them, of the world

  int world_size() const { return context_size * data_size; }
  int world_rank() const { return data_index * context_size + context_rank; }
};

// The cost of one optimizer step at one sequence length.
struct StepCost {
  int64_t length = 0;
  kernels::KernelCounters work;
  int64_t bytes_sent = 0;
  int64_t messages = 0;
  int64_t peak_bytes = 0;
  kernels::DryTimes times = {};  // 0 without a machine
};

// The cost of a rank's run: its memory over all phases and the evaluation, its work by phase.
struct RankPlan {
  RankPlace place;
  Ledger ledger;
  std::vector<StepCost> steps;  // one for each phase of the context schedule
  // Stands for every kernel call and every transfer of the rank, see kernels::DryClock.
  uint64_t fingerprint = 0;
};

// Needs no memory to speak of and no peers. `modelled` is the table whose scratch is planned.
// Requires a validated config. Without a `machine` nothing takes time; throws ConfigError where it
// lacks a rate that the step needs.
RankPlan PlanRank(const RunConfig& config, const DecoderShape& shape,
                  const kernels::KernelTable& modelled, const RankPlace& place,
                  const MachineModel* machine = nullptr);

// Refuses a plan that exceeds memory.budget_bytes: a ConfigError with the numbers.
void CheckBudget(const RunConfig& config, const RankPlan& plan);

}  // namespace annulus::runtime
