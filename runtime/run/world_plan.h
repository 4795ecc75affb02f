// The plans of all ranks of a run. Ranks that do the same are planned once.
#pragma once

#include <vector>

#include "runtime/run/memory_sharing.h"
#include "runtime/train/plan.h"
#include "runtime/train/strategy_choice.h"

namespace annulus::runtime {

struct WorldPlan {
  std::vector<RankPlan> distinct;
  std::vector<size_t> of_rank;  // which of `distinct` a rank's is, by rank

  int ranks() const { return static_cast<int>(of_rank.size()); }
  // But for RankPlan::place, which is that of a rank that does the same.
  const RankPlan& Of(int rank) const { return distinct[of_rank[static_cast<size_t>(rank)]]; }

  // The rank whose step takes longest in phase `phase`: the others wait for it where they exchange.
  int SlowestRank(size_t phase) const;
  int64_t BytesSent(size_t phase) const;  // by all ranks
};

// Requires a validated `config` for `ranks` ranks. To tell ranks apart, a step of one layer is run
// dry for each: those that make the same calls, transfers and allocations in it do so in every
// layer; their part of the gradients they sum is told apart as well. Throws ConfigError where
// `machine`, which may be null, lacks a rate.
WorldPlan PlanWorld(const RunConfig& config, const DecoderShape& shape,
                    const kernels::KernelTable& modelled, int ranks, const MachineModel* machine,
                    const MemorySharing& sharing = {});

// Which of the strategies that `config` leaves open the run follows, by the plans of all its ranks.
StrategyChoice ChooseStrategy(const RunConfig& config, const DecoderShape& shape,
                              const kernels::KernelTable& modelled, int ranks,
                              const MachineModel* machine, const MemorySharing& sharing = {});

}  // namespace annulus::runtime
