// Everything a rank needs before its first step: configuration checked, data open, its place in the
// grid, its kernels, and the plan of its memory.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "kernels/base/kernel_table.h"
#include "parallel/process_grid.h"
#include "runtime/config/run_config.h"
#include "runtime/data/dataset.h"
#include "runtime/machine/placement.h"
#include "runtime/model/decoder_shape.h"
#include "runtime/run/memory_sharing.h"
#include "runtime/run/tensor_transport.h"
#include "runtime/train/strategy_choice.h"

namespace annulus::runtime {

// The resolved sizes of the model in `config` (validated), for a dataset of `data_vocab_size`.
// Throws ConfigError when the model's vocabulary cannot hold the data's tokens.
DecoderShape ShapeOf(const RunConfig& config, int64_t data_vocab_size);

// The vocabulary of the data that `config` names, without opening any: 256 for text.
DatasetConfig DatasetConfigOf(const RunConfig& config);

struct RankSetup {
  RunConfig config;  // resolved
  std::unique_ptr<Dataset> dataset;
  DecoderShape shape;
  std::string host;
  std::vector<Placement> placements;  // by rank of the world
  std::unique_ptr<kernels::KernelTable> table;
  TensorTransport transport;
  parallel::ProcessGrid grid;
  MemorySharing sharing = {};    // as the world was told
  StrategyChoice strategy = {};  // config has what it chose
  RankPlan plan;

  // Of all ranks, for tensors and for the host.
  parallel::Communicator& world() const { return grid.world(); }
  RankPlace place() const;
  RankEnvironment Environment(kernels::StackMemory& memory) const;
};

// Collective over `world`, which must outlive the setup, and says to it which ranks share memory.
// Throws ConfigError on every rank alike.
RankSetup SetUpRank(const RunConfig& config, parallel::Communicator& world);

}  // namespace annulus::runtime
