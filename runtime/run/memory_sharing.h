// Which ranks read each other's keys in place (parallel.shared_memory), in a plan and in a run.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "parallel/communicator.h"
#include "runtime/config/run_config.h"
#include "runtime/machine/machine_model.h"

namespace annulus::runtime {

struct MemorySharing {
  // As Communicator::ShareMemory takes them, by rank of the world; empty: nobody shares.
  std::vector<int> nodes = {};
  // For people, as in "read in place among the 2 ranks of a node", "copied: ...".
  std::string text = {};
  std::string assumed = {};  // what the text ends with, where a plan had to assume nodes

  bool on() const { return !nodes.empty(); }
};

// Of a plan for `ranks` ranks, `parallel` validated. Nodes have parallel.node_size ranks, or else
// as many as the machine says, or else all: a plan does not see where ranks will be placed. With a
// `machine`, which may be null, auto is on where its hosts copy messages within a node.
MemorySharing PlanSharing(const ParallelOptions& parallel, int ranks, const MachineModel* machine);

// Of a run: the ranks that can, as Communicator::FindMemoryNodes() says of them, and are of one
// node by parallel.node_size where that is given.
MemorySharing FindSharing(const ParallelOptions& parallel, const std::vector<int>& can);

// What is left of it with `parallel` resolved: memory is shared by ranks that hold the same heads
// of a sequence.
MemorySharing NarrowTo(const ParallelOptions& parallel, const MemorySharing& sharing);

// `sharing` where each node has room for what its ranks need, `needed_bytes` of this one. Where one
// has not, nothing is shared, and the text says why; with parallel.shared_memory = on throws
// ConfigError on every rank. Collective.
MemorySharing WithRoom(const ParallelOptions& parallel, const MemorySharing& sharing,
                       int64_t needed_bytes, parallel::Communicator& world);

struct RoomOfRank {
  int machine = 0;          // the same number for all ranks that draw on one room
  double needed_bytes = 0;  // by this rank
  double free_bytes = 0;
};
// Which machine has no room for its ranks, and what to do; "" where all have.
std::string RoomProblem(const std::vector<RoomOfRank>& ranks);

}  // namespace annulus::runtime
