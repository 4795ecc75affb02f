#include "runtime/run/world_plan.h"

#include <map>
#include <tuple>

namespace annulus::runtime {
namespace {

RankPlace PlaceOf(const RunConfig& config, int rank, int ranks, const MemorySharing& sharing) {
  const int context_size = config.parallel.context_size;
  return {.context_rank = rank % context_size,
          .context_size = context_size,
          .data_index = rank / context_size,
          .data_size = ranks / context_size,
          .memory_nodes = sharing.nodes};
}

}  // namespace

int WorldPlan::SlowestRank(size_t phase) const {
  int slowest = 0;
  for (int rank = 1; rank < ranks(); ++rank) {
    if (Of(rank).steps[phase].times.total_s() > Of(slowest).steps[phase].times.total_s()) {
      slowest = rank;
    }
  }
  return slowest;
}

int64_t WorldPlan::BytesSent(size_t phase) const {
  int64_t bytes = 0;
  for (int rank = 0; rank < ranks(); ++rank) bytes += Of(rank).steps[phase].bytes_sent;
  return bytes;
}

WorldPlan PlanWorld(const RunConfig& config, const DecoderShape& shape,
                    const kernels::KernelTable& modelled, int ranks, const MachineModel* machine,
                    const MemorySharing& sharing) {
  if (machine != nullptr) machine->CheckLinks(ranks);
  RunConfig one_layer_config = config;
  DecoderShape one_layer = shape;
  one_layer_config.model.num_hidden_layers = one_layer.num_hidden_layers = 1;
  // What a rank reduces of the gradients is not the same part for every number of layers.
  const int64_t gradients = ParameterLayout(shape).elements();
  // By fingerprint and peak of one layer, and elements of the whole model.
  std::map<std::tuple<uint64_t, int64_t, int64_t>, size_t> known;
  WorldPlan world;
  for (int rank = 0; rank < ranks; ++rank) {
    const RankPlace place = PlaceOf(config, rank, ranks, sharing);
    const RankPlan probe = PlanRank(one_layer_config, one_layer, modelled, place, machine);
    const int64_t reduced = parallel::ShareOf(gradients, rank, ranks).size();
    const auto [same, is_new] = known.emplace(
        std::tuple(probe.fingerprint, probe.ledger.peak_bytes(), reduced), world.distinct.size());
    world.of_rank.push_back(same->second);
    if (is_new) world.distinct.push_back(PlanRank(config, shape, modelled, place, machine));
  }
  return world;
}

StrategyChoice ChooseStrategy(const RunConfig& config, const DecoderShape& shape,
                              const kernels::KernelTable& modelled, int ranks,
                              const MachineModel* machine, const MemorySharing& sharing) {
  return PlanStrategies(config, [&](const RunConfig& candidate) {
    StrategyCost most;
    for (const RankPlan& rank :
         PlanWorld(candidate, shape, modelled, ranks, machine, sharing).distinct) {
      most = Most(most, CostOf(candidate, rank));
    }
    return most;
  });
}

}  // namespace annulus::runtime
