// What is wrong with how this process was launched, for this machine.
#pragma once

#include <string>
#include <vector>

namespace annulus::runtime {

struct LaunchFacts {
  int cores_online = 0;
  int affinity_cores = 0;    // that this process may run on
  double cgroup_cores = 0;   // 0: no limit
  int ranks = 1;             // of this process, as threads
  int threads = 0;           // per rank; 0: automatic
  int omp_thread_limit = 0;  // OMP_THREAD_LIMIT; 0: not set
};

// Cores that this process can keep busy: the affinity mask and the control group, at least 1.
int UsableCores(const LaunchFacts& facts);

// device.threads, or what 0 stands for: an equal share of the usable cores, at least 1.
int ThreadsPerRank(const LaunchFacts& facts);

// One sentence each: what is wrong, and what would be right.
std::vector<std::string> LaunchAdvice(const LaunchFacts& facts);

}  // namespace annulus::runtime
