#include "runtime/machine/placement.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <map>

#include "runtime/machine/machine.h"
#include "runtime/machine/system_file.h"

namespace annulus::runtime {
namespace {

using parallel::Launcher;

// mpirun's daemon is the parent of a rank, unless a script between them does not exec; then this is
// what the rank itself may use, and its binding goes unnoticed. srun's is not bound to the job.
int LauncherCores(Launcher launcher) {
  if (launcher != Launcher::kOpenMpi && launcher != Launcher::kHydra) return 0;
  const std::filesystem::path parent = "/proc/" + std::to_string(getppid());
  return static_cast<int>(
      ParseCpuList(FieldOf(WholeFile(parent / "status"), "Cpus_allowed_list")).size());
}

int WholeCores(double cores) {
  constexpr double kRounding = 1e-6;  // of sums of parts
  return std::max(static_cast<int>(cores + kRounding), 1);
}

struct HostLoad {
  int64_t ranks = 0;
  std::map<int, int64_t> ranks_by_core = {};
};

}  // namespace

std::string HostName() {
  std::array<char, 256> name{};
  if (gethostname(name.data(), name.size() - 1) != 0) return "unknown";
  return name.data();
}

Placement ReadPlacement(int threads) {
  const MachineFacts machine = ReadMachine("/");
  const Launcher launcher = parallel::DetectLaunch().launcher;
  const char* limit = std::getenv("OMP_THREAD_LIMIT");
  return {.host = HostName(),
          .cores = AffinityCores(),
          .cores_online = machine.cores_online,
          .launcher_cores = LauncherCores(launcher),
          .cgroup_cores = machine.cgroup_cores,
          .threads = threads,
          .omp_thread_limit = static_cast<int>(
              std::min<int64_t>(WholeNumber(limit == nullptr ? "" : limit).value_or(0), INT32_MAX)),
          .launcher = launcher};
}

int UsableCores(const Placement& placement) {
  double cores = static_cast<double>(placement.cores.size());
  if (placement.cgroup_cores > 0) cores = std::min(cores, placement.cgroup_cores);
  return WholeCores(cores);
}

std::vector<double> CoresPerRank(std::span<const Placement> job) {
  std::map<std::string, HostLoad> hosts;
  for (const Placement& placement : job) {
    HostLoad& host = hosts[placement.host];
    host.ranks += placement.ranks;
    for (int core : placement.cores) host.ranks_by_core[core] += placement.ranks;
  }
  std::vector<double> cores;
  for (const Placement& placement : job) {
    const HostLoad& host = hosts[placement.host];
    double own = 0;
    for (int core : placement.cores) {
      own += 1 / static_cast<double>(host.ranks_by_core.at(core));
    }
    if (placement.cgroup_cores > 0) {
      own = std::min(own, WholeCores(placement.cgroup_cores) / static_cast<double>(host.ranks));
    }
    cores.push_back(own);
  }
  return cores;
}

int ThreadsPerRank(std::span<const Placement> job, size_t index) {
  const int given = job[index].threads;
  return given > 0 ? given : WholeCores(CoresPerRank(job)[index]);
}

}  // namespace annulus::runtime
