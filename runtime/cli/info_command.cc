#include "runtime/cli/info_command.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

#include "kernels/base/error.h"
#include "runtime/cli/machine_rows.h"
#include "runtime/machine/machine.h"
#include "runtime/machine/placement_advice.h"
#include "runtime/report/report_files.h"
#include "runtime/run/job_placement.h"

namespace annulus::runtime {
namespace {

using Rows = std::vector<InfoRow>;

Rows LaunchRows(const Job& job, const std::vector<Placement>& placements,
                const MachineFacts& machine) {
  const parallel::LaunchFacts& launch = job.launch();
  int64_t ranks = 0;
  for (const Placement& placement : placements) ranks += placement.ranks;
  Rows rows = {
      {"launch", "launcher", NameOf(launch.launcher)},
      {"launch", "processes", launch.processes},
      {"launch", "affinity_cores", placements.front().cores.size()},
      {"launch", "usable_cores", UsableCores(placements.front())},
      {"launch", "ranks", ranks},
      {"launch", "threads_per_rank", ThreadsPerRank(placements, 0)},
  };
  for (const PlacedRanks& placed : DescribePlacements(placements)) {
    rows.push_back({"launch", placed.ranks, placed.place});
  }
  if (machine.cgroup_cores > 0) rows.push_back({"launch", "cgroup_cores", machine.cgroup_cores});
  if (machine.cgroup_memory_bytes > 0) {
    rows.push_back({"launch", "cgroup_memory_bytes", machine.cgroup_memory_bytes});
  }
  for (const char* name : {"OMP_NUM_THREADS", "OMP_PROC_BIND", "OMP_PLACES", "OMP_THREAD_LIMIT"}) {
    const char* value = std::getenv(name);
    rows.push_back({"launch", name, value == nullptr ? "not set" : value});
  }
  return rows;
}

}  // namespace

InfoReport MakeInfoReport(const Job& job, const std::vector<Placement>& placements) {
  const MachineFacts machine = ReadMachine("/");
  InfoReport report;
  for (const Rows& rows :
       {BuildRows(), MachineRows(machine), KernelRows(), LaunchRows(job, placements, machine)}) {
    report.rows.insert(report.rows.end(), rows.begin(), rows.end());
  }
  report.warnings = PlacementAdvice(placements);
  return report;
}

int RunInfo(const RunConfig& config, Job& job) {
  const Placement own = ReadPlacement(config.device.threads);
  std::vector<Placement> placements;
  std::string problem;
  try {
    job.Start();
  } catch (const ConfigError& error) {
    problem = error.what();
  }
  if (problem.empty() && job.launch().processes > 1) {
    job.RunRanks(config,
                 [&](parallel::Communicator& world) { placements = GatherPlacements(world, own); });
  } else {
    placements = {own};
    placements.front().ranks = std::max(config.ranks, 1);
  }
  if (!job.speaks()) return 0;
  InfoReport report = MakeInfoReport(job, placements);
  if (!problem.empty()) report.warnings.insert(report.warnings.begin(), problem);
  fmt::print("{}", ToText(report));
  WriteJsonReport(config, ToJson(report));
  return 0;
}

}  // namespace annulus::runtime
