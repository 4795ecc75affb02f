#include "runtime/config/strategy.h"

#include <algorithm>
#include <array>

#include "kernels/base/error.h"
#include "parallel/divisors.h"

namespace annulus::runtime {
namespace {

using parallel::Alternatives;
using parallel::DivisorsOf;
using parallel::ScheduleKind;

// A plan's bytes cannot tell the double ring from the ring, and an all-gather holds the keys of all
// ranks at once: auto leaves both to the user.
constexpr std::array<StrategyTraits, 5> kStrategies = {{
    {ContextStrategy::kRing, "ring", HeadGroups::kNone, ScheduleKind::kRing},
    {.strategy = ContextStrategy::kAllGather,
     .name = "all-gather",
     .heads = HeadGroups::kNone,
     .schedule = ScheduleKind::kAllGather,
     .automatic = false},
    {.strategy = ContextStrategy::kDoubleRing,
     .name = "double-ring",
     .heads = HeadGroups::kNone,
     .schedule = ScheduleKind::kDoubleRing,
     .by_nodes = true,
     .automatic = false},
    {ContextStrategy::kUlysses, "ulysses", HeadGroups::kAll, ScheduleKind::kRing},
    {ContextStrategy::kHybrid, "hybrid", HeadGroups::kSome, ScheduleKind::kRing},
}};

const StrategyTraits& TraitsOf(ContextStrategy strategy) {
  for (const StrategyTraits& traits : kStrategies) {
    if (traits.strategy == strategy) return traits;
  }
  throw InternalError("auto is not a strategy that a run follows");
}

// Sizes of a Ulysses group that leave every one of its ranks a head.
std::vector<int64_t> SizesWithHeads(int ranks, int64_t heads) {
  std::vector<int64_t> sizes = DivisorsOf(ranks);
  std::erase_if(sizes, [heads](int64_t size) { return size > heads; });
  return sizes;
}

void CheckHeads(const ParallelOptions& parallel, int64_t heads) {
  const int ranks = parallel.context_size, size = parallel.ulysses_size;
  if (size <= heads) return;
  const std::string sizes = Alternatives(SizesWithHeads(ranks, heads));
  if (parallel.strategy == ContextStrategy::kUlysses) {
    ThrowConfigError(
        "parallel.strategy = ulysses spreads model.num_attention_heads = {} over the {} ranks of a "
        "context group: some would have none; choose parallel.strategy = hybrid with ulysses_size "
        "{}, or parallel.context_size of at most {}",
        heads, ranks, sizes, heads);
  }
  ThrowConfigError(
      "parallel.ulysses_size = {} spreads model.num_attention_heads = {} over more ranks than "
      "there are heads; choose {}",
      size, heads, sizes);
}

void CheckDivides(const ParallelOptions& parallel, int64_t heads) {
  const int ranks = parallel.context_size, size = parallel.ulysses_size;
  if (size == 0 || ranks % size == 0) return;
  const std::vector<int64_t> all = DivisorsOf(ranks), good = SizesWithHeads(ranks, heads);
  ThrowConfigError(
      "parallel.ulysses_size = {} does not divide the {} ranks of a context group; choose {}{}",
      size, ranks, Alternatives(good),
      good.size() == all.size()
          ? ""
          : fmt::format(" ({} would leave ranks without a head, for model.num_attention_heads = "
                        "{})",
                        Alternatives({all.begin() + std::ssize(good), all.end()}), heads));
}

// The one size that `strategy` allows.
void ResolveOnlySize(ParallelOptions& parallel, int only, std::string_view what) {
  if (parallel.ulysses_size != 0 && parallel.ulysses_size != only) {
    ThrowConfigError(
        "parallel.ulysses_size = {} does not go with parallel.strategy = {}, which {}; leave "
        "ulysses_size out or choose parallel.strategy = hybrid",
        parallel.ulysses_size, NameOf(parallel.strategy), what);
  }
  parallel.ulysses_size = only;
}

void CheckNodes(const ParallelOptions& parallel, bool by_nodes) {
  if (parallel.node_size == 0) return;
  if (!by_nodes && parallel.shared_memory == SharedMemory::kOff) {
    ThrowConfigError(
        "parallel.node_size = {} does not go with parallel.strategy = {} and "
        "parallel.shared_memory = off, which make no difference between nodes; leave node_size out "
        "or choose parallel.strategy = double-ring",
        parallel.node_size, NameOf(parallel.strategy));
  }
  if (parallel.context_size % parallel.node_size != 0) {
    ThrowConfigError(
        "parallel.node_size = {} does not divide the {} ranks of a context group; choose {}",
        parallel.node_size, parallel.context_size, Alternatives(DivisorsOf(parallel.context_size)));
  }
}

void CheckBlocks(const ParallelOptions& parallel) {
  if (parallel.blocks_in_flight == 0) return;
  if (parallel.strategy != ContextStrategy::kAllGather) {
    ThrowConfigError(
        "parallel.blocks_in_flight = {} does not go with parallel.strategy = {}, which has two "
        "under way; leave blocks_in_flight out or choose parallel.strategy = all-gather",
        parallel.blocks_in_flight, NameOf(parallel.strategy));
  }
  if (parallel.blocks_in_flight == 1) {
    ThrowConfigError(
        "parallel.blocks_in_flight = 1 leaves no room for a block to arrive while another is read; "
        "choose 2 or more, or 0 for all at once");
  }
}

// Ranks that follow each other on one host.
struct Node {
  std::string host;
  int ranks = 0;
};

std::vector<Node> NodesOf(std::span<const std::string> hosts) {
  std::vector<Node> nodes;
  for (const std::string& host : hosts) {
    if (nodes.empty() || nodes.back().host != host) nodes.push_back({host});
    ++nodes.back().ranks;
  }
  return nodes;
}

std::string Ranks(int count) { return fmt::format("{} rank{}", count, count == 1 ? "" : "s"); }

ParallelOptions With(ParallelOptions parallel, ContextStrategy strategy, int64_t size) {
  parallel.strategy = strategy;
  parallel.ulysses_size = static_cast<int>(size);
  return parallel;
}

}  // namespace

std::span<const StrategyTraits> Strategies() { return kStrategies; }

std::string_view NameOf(ContextStrategy strategy) {
  return strategy == ContextStrategy::kAuto ? "auto" : TraitsOf(strategy).name;
}

void ResolveStrategy(ParallelOptions& parallel, int64_t heads) {
  CheckBlocks(parallel);
  if (parallel.strategy == ContextStrategy::kAuto) {
    CheckNodes(parallel, /*by_nodes=*/false);
    return ResolveOnlySize(parallel, 0, "chooses it");
  }
  const StrategyTraits& traits = TraitsOf(parallel.strategy);
  CheckNodes(parallel, traits.by_nodes);
  switch (traits.heads) {
    case HeadGroups::kNone:
      ResolveOnlySize(parallel, 1, "spreads no heads");
      break;
    case HeadGroups::kAll:
      ResolveOnlySize(
          parallel, parallel.context_size,
          fmt::format("spreads heads over all {} ranks of a context group", parallel.context_size));
      break;
    case HeadGroups::kSome:
      CheckDivides(parallel, heads);
      break;
  }
  CheckHeads(parallel, heads);
}

bool NeedsNodes(const ParallelOptions& parallel) {
  return parallel.strategy != ContextStrategy::kAuto && TraitsOf(parallel.strategy).by_nodes &&
         parallel.node_size == 0;
}

void ResolveNodes(ParallelOptions& parallel, std::span<const std::string> hosts) {
  if (!NeedsNodes(parallel)) return;
  const auto ranks = static_cast<size_t>(parallel.context_size);
  const int size = NodesOf(hosts.first(ranks)).front().ranks;
  for (size_t group = 0; group < hosts.size(); group += ranks) {
    const std::vector<Node> nodes = NodesOf(hosts.subspan(group, ranks));
    const auto is_equal = [size](const Node& node) { return node.ranks == size; };
    if (std::all_of(nodes.begin(), nodes.end(), is_equal)) continue;
    std::vector<std::string> found;
    for (const Node& node : nodes) found.push_back(fmt::format("{} on {}", node.ranks, node.host));
    ThrowConfigError(
        "parallel.strategy = double-ring needs equally many ranks of a context group on each of "
        "its "
        "nodes, but there are {}; start them so, or set parallel.node_size to {}",
        fmt::join(found, ", "), Alternatives(DivisorsOf(parallel.context_size)));
  }
  parallel.node_size = size;
}

std::vector<ParallelOptions> StrategyCandidates(const ParallelOptions& parallel, int64_t heads) {
  const int ranks = parallel.context_size;
  const std::vector<int64_t> sizes = SizesWithHeads(ranks, heads);
  const auto is_end = [ranks](int64_t size) { return size == 1 || size == ranks; };
  std::vector<ParallelOptions> candidates;
  if (parallel.strategy != ContextStrategy::kAuto) {
    if (parallel.ulysses_size != 0) return {parallel};
    const bool only_ends = std::all_of(sizes.begin(), sizes.end(), is_end);
    for (const int64_t size : sizes) {
      if (is_end(size) && !only_ends) continue;
      candidates.push_back(With(parallel, parallel.strategy, size));
    }
    return candidates;
  }
  for (const int64_t size : sizes) {
    const HeadGroups heads_of_size = size == 1       ? HeadGroups::kNone
                                     : size == ranks ? HeadGroups::kAll
                                                     : HeadGroups::kSome;
    for (const StrategyTraits& traits : kStrategies) {
      if (!traits.automatic || traits.heads != heads_of_size) continue;
      candidates.push_back(With(parallel, traits.strategy, size));
    }
  }
  return candidates;
}

ParallelOptions OnOneRank(ParallelOptions parallel) {
  parallel.context_size = parallel.ulysses_size = 1;
  parallel.strategy = ContextStrategy::kRing;
  parallel.node_size = parallel.blocks_in_flight = 0;
  return parallel;
}

parallel::Partition PartitionOf(const ParallelOptions& parallel, int64_t length, int ranks) {
  return {parallel.partition, length, ranks / parallel.ulysses_size, parallel.ulysses_size};
}

parallel::ScheduleSpec ScheduleOf(const ParallelOptions& parallel) {
  const StrategyTraits& traits = TraitsOf(parallel.strategy);
  return {.kind = traits.schedule,
          .inner = traits.by_nodes ? parallel.node_size : 1,
          .blocks_in_flight = parallel.blocks_in_flight};
}

std::string ShortName(const ParallelOptions& parallel) {
  const std::string name(NameOf(parallel.strategy));
  if (parallel.strategy != ContextStrategy::kHybrid) return name;
  return fmt::format("{} {} x {}", name, parallel.ulysses_size,
                     parallel.context_size / parallel.ulysses_size);
}

std::string DescribeStrategy(const ParallelOptions& parallel) {
  const int size = parallel.ulysses_size, ring = parallel.context_size / size;
  std::vector<std::string> parts;
  if (size > 1) parts.push_back(fmt::format("heads over {}", Ranks(size)));
  if (size == 1 || ring > 1) {
    switch (TraitsOf(parallel.strategy).schedule) {
      case ScheduleKind::kRing:
        parts.push_back(fmt::format("keys round {}", Ranks(ring)));
        break;
      case ScheduleKind::kAllGather:
        parts.push_back(fmt::format("keys straight to {}", Ranks(ring)));
        break;
      case ScheduleKind::kDoubleRing:
        parts.push_back(fmt::format("keys round {} on each of {} nodes", Ranks(parallel.node_size),
                                    ring / parallel.node_size));
        break;
    }
  }
  return fmt::format("{}: {}", NameOf(parallel.strategy), fmt::join(parts, ", "));
}

}  // namespace annulus::runtime
