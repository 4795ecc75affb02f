// The ranks that a benchmark runs on.
#pragma once

#include <string>
#include <vector>

#include "parallel/communicator.h"

namespace annulus::runtime {

struct BenchLaunch {
  int threads = 1;       // of every rank
  int usable_cores = 1;  // of this process
  int ranks_per_node = 1;
  int node_local_rank = 0;
  bool one_node = true;
  std::vector<std::string> hosts = {};   // by rank
  std::vector<std::string> advice = {};  // what is wrong with where ranks were placed

  // Whether one process here can keep the cores of all `ranks` ranks busy.
  bool FitsOneProcess(int ranks) const { return one_node && usable_cores >= ranks * threads; }
};

// `threads` as in device.threads. Collective. Throws ConfigError where nodes have different numbers
// of ranks, or ranks different numbers of threads.
BenchLaunch ReadBenchLaunch(parallel::Communicator& world, int threads);

}  // namespace annulus::runtime
