// The ways to share one attention among the ranks of a context group: what each takes, as data.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "parallel/partition.h"
#include "parallel/schedule.h"
#include "runtime/config/run_config.h"

namespace annulus::runtime {

// How many ranks of a context group of P spread the heads among them.
enum class HeadGroups : uint8_t {
  kNone,  // 1
  kAll,   // P
  kSome,  // any divisor of P
};

// A row of the support matrix. Every strategy takes every partition, mask, dtype and sequence
// length. A group that spreads heads needs one for each of its ranks; they need not divide evenly,
// nor need there be as many key/value heads.
struct StrategyTraits {
  ContextStrategy strategy;
  std::string_view name;
  HeadGroups heads;
  parallel::ScheduleKind schedule;  // of keys, among ranks that hold the same heads
  bool by_nodes = false;            // needs to know the nodes; each has as many ranks of a group
  bool automatic = true;            // auto may choose it
};

// Those that a run can follow: all but auto, which stands for one of them.
std::span<const StrategyTraits> Strategies();

std::string_view NameOf(ContextStrategy strategy);

// Throws ConfigError, with what would be right, for a strategy that `parallel` (context_size
// resolved) and the model's heads do not allow. Then replaces ulysses_size where there is only one
// it can be. Idempotent.
void ResolveStrategy(ParallelOptions& parallel, int64_t num_attention_heads);

// Whether the strategy goes by nodes and nothing says yet how large they are.
bool NeedsNodes(const ParallelOptions& parallel);

// Where NeedsNodes, sets node_size from the host of every rank of the run, by rank. Throws
// ConfigError where context groups have not equally many ranks on each of their hosts, side by
// side. Requires ResolveStrategy before.
void ResolveNodes(ParallelOptions& parallel, std::span<const std::string> hosts);

// All that `parallel` (after ResolveStrategy) leaves open, resolved in every way: itself, or one
// for each size of hybrid (those between 1 and the whole group, where there are any), or one for
// each strategy and size of auto. In the order in which they are preferred where they cost the
// same: the ring, whose exchanges hide behind attention, then few exchanged heads before many.
std::vector<ParallelOptions> StrategyCandidates(const ParallelOptions& parallel,
                                                int64_t num_attention_heads);

// What is left of `parallel` on one rank, which shares its sequences with nobody. Resolved.
ParallelOptions OnOneRank(ParallelOptions parallel);

// Of a resolved strategy, for `length` tokens over `ranks` ranks of a context group.
parallel::Partition PartitionOf(const ParallelOptions& parallel, int64_t length, int ranks);

parallel::ScheduleSpec ScheduleOf(const ParallelOptions& parallel);

// "ring", "hybrid 2 x 4". Requires a resolved strategy.
std::string ShortName(const ParallelOptions& parallel);

// As in "hybrid: heads over 2 ranks, keys round 4 ranks". Requires a resolved strategy.
std::string DescribeStrategy(const ParallelOptions& parallel);

}  // namespace annulus::runtime
