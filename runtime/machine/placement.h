// Which cores this process may use, and what is wrong with that.
#pragma once

#include <string>
#include <vector>

namespace annulus::runtime {

struct Placement {
  int cores_online = 0;
  int affinity_cores = 0;    // that this process may run on
  double cgroup_cores = 0;   // 0: no limit
  int ranks = 1;             // that share the usable cores
  int threads = 0;           // per rank; 0: automatic
  int omp_thread_limit = 0;  // OMP_THREAD_LIMIT; 0: not set
};

// Of this process now, for ranks that each run `threads` threads (0: automatic).
Placement ReadPlacement(int ranks, int threads);

// How many of `ranks_here` ranks on this machine share this process's cores: all of them, unless
// each process is bound to its part of the machine.
int RanksSharingCores(const Placement& placement, int ranks_here);

// Cores that this process can keep busy: the affinity mask and the control group, at least 1.
int UsableCores(const Placement& facts);

// device.threads, or what 0 stands for: an equal share of the usable cores, at least 1.
int ThreadsPerRank(const Placement& facts);

// One sentence each: what is wrong, and what would be right.
std::vector<std::string> PlacementAdvice(const Placement& facts);

}  // namespace annulus::runtime
