#include "runtime/run/rank_setup.h"

#include <array>
#include <optional>

#include "kernels/base/error.h"
#include "runtime/config/strategy.h"
#include "runtime/config/validate.h"
#include "runtime/machine/device_table.h"
#include "runtime/machine/machine_file.h"
#include "runtime/run/job_placement.h"
#include "runtime/run/together.h"

namespace annulus::runtime {

DatasetConfig DatasetConfigOf(const RunConfig& config) {
  return {.path = config.data.path,
          .synthetic = config.data.synthetic,
          .held_out_fraction = config.data.held_out_fraction,
          .separate_documents = config.attention.mask == kernels::MaskKind::kDocuments,
          .vocab_size = config.model.vocab_size,
          .seed = config.train.seed};
}

DecoderShape ShapeOf(const RunConfig& config, int64_t data_vocab_size) {
  const ModelOptions& model = config.model;
  if (model.vocab_size != 0 && model.vocab_size < data_vocab_size) {
    ThrowConfigError("model.vocab_size = {} cannot hold the {} tokens of the data",
                     model.vocab_size, data_vocab_size);
  }
  return {.hidden_size = model.hidden_size,
          .num_hidden_layers = model.num_hidden_layers,
          .num_attention_heads = model.num_attention_heads,
          .num_key_value_heads = model.num_key_value_heads,
          .head_dim = model.head_dim,
          .intermediate_size = model.intermediate_size,
          .vocab_size = model.vocab_size != 0 ? model.vocab_size : data_vocab_size,
          .rope_theta = model.rope_theta,
          .rms_norm_eps = static_cast<float>(model.rms_norm_eps),
          .tie_word_embeddings = model.tie_word_embeddings,
          .dtype = model.dtype,
          .initializer_range = static_cast<float>(model.initializer_range),
          .embedding_initializer_range = static_cast<float>(model.embedding_initializer_range)};
}

RankPlace RankSetup::place() const {
  return {.context_rank = grid.context().rank(),
          .context_size = grid.context().size(),
          .data_index = grid.data().rank(),
          .data_size = grid.data().size(),
          .memory_nodes = sharing.nodes};
}

RankEnvironment RankSetup::Environment(kernels::StackMemory& memory) const {
  return {.table = *table,
          .memory = memory,
          .world = grid.world(),
          .context = grid.context(),
          .data_index = grid.data().rank(),
          .data_size = grid.data().size()};
}

namespace {

// Chooses a strategy, with memory shared as setup.sharing says, and plans this rank. Collective.
void PlanTogether(const MachineModel* machine, parallel::Communicator& world, RankSetup& setup) {
  setup.strategy = PlanStrategies(setup.config, [&](const RunConfig& candidate) {
    const RankPlan plan = PlanRank(candidate, setup.shape, *setup.table, setup.place(), machine);
    StrategyCost cost = CostOf(candidate, plan);
    std::array<double, 3> most{cost.bytes_sent, cost.step_ms, cost.peak_bytes};
    world.AllReduceMax(most);
    cost.bytes_sent = most[0];
    cost.step_ms = most[1];
    cost.peak_bytes = most[2];
    return cost;
  });
  setup.config.parallel = setup.strategy.parallel();
  setup.sharing = NarrowTo(setup.config.parallel, setup.sharing);
  setup.plan = PlanRank(setup.config, setup.shape, *setup.table, setup.place());
}

std::unique_ptr<kernels::KernelTable> MakeTable(const RunConfig& config,
                                                const std::vector<Placement>& placements,
                                                parallel::Communicator& world) {
  const auto rank = static_cast<size_t>(world.rank());
  std::unique_ptr<kernels::KernelTable> table;
  TryTogether(world, [&] {
    table = MakeDeviceTable(config.device, {.threads = ThreadsPerRank(placements, rank),
                                            .node_local_rank = NodeLocalRank(placements, rank)});
  });
  return table;
}

}  // namespace

RankSetup SetUpRank(const RunConfig& given, parallel::Communicator& world) {
  CheckSameConfiguration(world, given);
  RunConfig config = given;
  std::unique_ptr<Dataset> dataset;
  DecoderShape shape;
  std::optional<MachineModel> machine;
  TryTogether(world, [&] {
    Validate(config, world.size());
    dataset = OpenDataset(DatasetConfigOf(config));
    shape = ShapeOf(config, dataset->vocab_size());
    for (const ContextPhase& phase : config.train.Phases()) dataset->CheckLength(phase.length);
    if (config.machine.empty()) return;
    machine = ReadMachineFile(config.machine);
    machine->CheckLinks(world.size());
  });
  config.model.vocab_size = shape.vocab_size;
  std::vector<Placement> placements = GatherPlacements(world, ReadPlacement(config.device.threads));
  std::unique_ptr<kernels::KernelTable> table = MakeTable(config, placements, world);
  TensorTransport transport = ChooseTensorTransport(config, world, *table);
  parallel::Communicator& tensors = transport.group ? *transport.group : world;
  RankSetup setup{.config = config,
                  .dataset = std::move(dataset),
                  .shape = shape,
                  .host = HostName(),
                  .placements = std::move(placements),
                  .table = std::move(table),
                  .transport = std::move(transport),
                  .grid = parallel::ProcessGrid(tensors, config.parallel.context_size),
                  .plan = {}};
  ResolveNodes(setup.config.parallel, HostsOf(setup.placements));
  const ParallelOptions open = setup.config.parallel;
  setup.sharing = FindSharing(setup.config.parallel, setup.world().FindMemoryNodes());
  PlanTogether(machine ? &*machine : nullptr, world, setup);
  const bool shared = setup.sharing.on();
  setup.sharing = WithRoom(setup.config.parallel, setup.sharing,
                           setup.plan.ledger.peak_bytes(kernels::Reach::kNode), setup.world());
  if (shared && !setup.sharing.on()) {
    setup.config.parallel = open;
    PlanTogether(machine ? &*machine : nullptr, world, setup);
  }
  setup.world().ShareMemory(setup.sharing.nodes);
  TryTogether(world, [&] { CheckBudget(setup.config, setup.plan); });
  return setup;
}

}  // namespace annulus::runtime
