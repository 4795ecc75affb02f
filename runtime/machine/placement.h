// Which cores the ranks of a job may use, and how many threads that gives each.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "parallel/launch.h"

namespace annulus::runtime {

// Of one process, or of one of its ranks where ranks are threads.
struct Placement {
  std::string host = {};
  std::vector<int> cores = {};  // logical ones that it may run on, ascending
  int cores_online = 0;         // of the host
  // Cores of the host that the launcher itself may use, which it binds ranks to parts of. 0: there
  // is no mpirun.
  int launcher_cores = 0;
  double cgroup_cores = 0;   // that the control group allows the host's ranks together; 0: no limit
  int threads = 0;           // device.threads; 0: automatic
  int omp_thread_limit = 0;  // OMP_THREAD_LIMIT; 0: not set
  int64_t ranks = 1;         // that this stands for
  parallel::Launcher launcher = parallel::Launcher::kNone;
};

// Of this process now; `threads` is device.threads. Throws ConfigError as DetectLaunch() does.
Placement ReadPlacement(int threads);

// The name of this machine.
std::string HostName();

// Cores that a process can keep busy when it is alone on its host: its own, within the control
// group's limit; at least 1.
int UsableCores(const Placement& placement);

// The cores of each of `job`'s ranks, by entry: of a core that ranks of a host share, an equal part
// each; no more than an equal part of what the control group allows the host's ranks.
std::vector<double> CoresPerRank(std::span<const Placement> job);

// Threads of one rank of entry `index`: device.threads, or the whole cores of a rank, at least 1.
int ThreadsPerRank(std::span<const Placement> job, size_t index);

}  // namespace annulus::runtime
