#include "runtime/run/memory_sharing.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "kernels/base/error.h"
#include "runtime/io/format.h"

namespace annulus::runtime {
namespace {

MemorySharing Copied(std::string_view why) {
  return {.nodes = {}, .text = fmt::format("copied: {}", why)};
}

constexpr const char* kOneNode =
    "; all ranks are taken to be of one node, where parallel.node_size does not say otherwise";

MemorySharing Off() { return Copied("parallel.shared_memory = off"); }

// How many ranks each node has.
std::map<int, int> SizesOf(const std::vector<int>& nodes) {
  std::map<int, int> sizes;
  for (const int node : nodes) ++sizes[node];
  return sizes;
}

MemorySharing InPlace(std::vector<int> nodes, const std::string& assumed = "") {
  std::set<int> distinct;
  for (const auto& [node, size] : SizesOf(nodes)) distinct.insert(size);
  if (distinct.empty() || *distinct.rbegin() == 1) {
    return Copied("no two ranks that share a sequence share memory");
  }
  return {.nodes = std::move(nodes),
          .text = fmt::format("read in place by ranks that share memory, {} each{}",
                              fmt::join(distinct, " or "), assumed),
          .assumed = assumed};
}

// Ranks that agree in everything that `key_of` says of them get one number.
template <class KeyOf>
std::vector<int> Number(int ranks, const KeyOf& key_of) {
  std::map<decltype(key_of(0)), int> numbers;
  std::vector<int> nodes;
  for (int rank = 0; rank < ranks; ++rank) {
    nodes.push_back(numbers.emplace(key_of(rank), static_cast<int>(numbers.size())).first->second);
  }
  return nodes;
}

// Those of equal `found` that parallel.node_size and the context groups leave together.
std::vector<int> NodesOf(const ParallelOptions& parallel, const std::vector<int>& found) {
  return Number(static_cast<int>(found.size()), [&](int rank) {
    const int block = parallel.node_size == 0 ? 0 : rank / parallel.node_size;
    return std::tuple(found[static_cast<size_t>(rank)], block, rank / parallel.context_size);
  });
}

}  // namespace

MemorySharing PlanSharing(const ParallelOptions& parallel, int ranks, const MachineModel* machine) {
  if (parallel.shared_memory == SharedMemory::kOff) return Off();
  if (parallel.shared_memory == SharedMemory::kAuto && machine != nullptr &&
      machine->network.within_node.host_share == 0) {
    return Copied("the machine's hosts do not copy what travels within a node");
  }
  const int of_machine = machine == nullptr ? 0 : machine->network.ranks_per_node;
  const bool known = parallel.node_size > 0 || of_machine > 0;
  const auto node_of = [&](int rank) {
    return parallel.node_size > 0 || of_machine == 0 ? 0 : rank / of_machine;
  };
  return InPlace(NodesOf(parallel, Number(ranks, node_of)), known ? "" : kOneNode);
}

MemorySharing FindSharing(const ParallelOptions& parallel, const std::vector<int>& can) {
  if (parallel.shared_memory == SharedMemory::kOff) return Off();
  return InPlace(NodesOf(parallel, can));
}

MemorySharing NarrowTo(const ParallelOptions& parallel, const MemorySharing& sharing) {
  if (!sharing.on()) return sharing;
  return InPlace(Number(static_cast<int>(sharing.nodes.size()),
                        [&](int rank) {
                          return std::tuple(sharing.nodes[static_cast<size_t>(rank)],
                                            rank / parallel.context_size,
                                            rank % parallel.ulysses_size);
                        }),
                 sharing.assumed);
}

std::string RoomProblem(const std::vector<RoomOfRank>& ranks) {
  std::map<int, double> needed;  // by machine
  for (const RoomOfRank& rank : ranks) needed[rank.machine] += rank.needed_bytes;
  for (const RoomOfRank& rank : ranks) {
    if (needed[rank.machine] <= rank.free_bytes) continue;
    return fmt::format(
        "the ranks on the node of rank {} need {} of shared memory and {} has {} free; make it "
        "larger (mount -o remount,size=..., docker run --shm-size) or choose "
        "parallel.shared_memory = off",
        rank.machine, FormatBytes(static_cast<int64_t>(needed[rank.machine])),
        parallel::kSharedMemoryPlace, FormatBytes(static_cast<int64_t>(rank.free_bytes)));
  }
  return "";
}

MemorySharing WithRoom(const ParallelOptions& parallel, const MemorySharing& sharing,
                       int64_t needed_bytes, parallel::Communicator& world) {
  if (!sharing.on()) return sharing;
  const std::vector<int> machines = world.FindMemoryNodes();
  const bool alone = SizesOf(sharing.nodes)[sharing.nodes[static_cast<size_t>(world.rank())]] == 1;
  const double own[] = {alone ? 0 : static_cast<double>(needed_bytes), world.SharedRoomBytes()};
  const std::vector<double> all = world.AllGather(own);
  std::vector<RoomOfRank> ranks;
  for (size_t rank = 0; rank < machines.size(); ++rank) {
    ranks.push_back({machines[rank], all[2 * rank], all[2 * rank + 1]});
  }
  const std::string problem = RoomProblem(ranks);
  if (problem.empty()) return sharing;
  if (parallel.shared_memory == SharedMemory::kOn) {
    ThrowConfigError("parallel.shared_memory = on, but {}", problem);
  }
  return Copied(problem);
}

}  // namespace annulus::runtime
