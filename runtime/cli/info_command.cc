#include "runtime/cli/info_command.h"

#include <fmt/format.h>

#include <cstdlib>

#include "runtime/cli/machine_rows.h"
#include "runtime/cli/report_files.h"
#include "runtime/machine/machine.h"
#include "runtime/machine/placement.h"

namespace annulus::runtime {
namespace {

using Rows = std::vector<InfoRow>;

Rows LaunchRows(const Job& job, const Placement& facts, const MachineFacts& machine) {
  const parallel::LaunchFacts& launch = job.launch();
  Rows rows = {
      {"launch", "launcher", NameOf(launch.launcher)},
      {"launch", "processes", launch.processes},
      {"launch", "affinity_cores", facts.affinity_cores},
      {"launch", "usable_cores", UsableCores(facts)},
      {"launch", "ranks", facts.ranks},
      {"launch", "threads_per_rank", ThreadsPerRank(facts)},
  };
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

InfoReport MakeInfoReport(const RunConfig& config, const Job& job) {
  const MachineFacts machine = ReadMachine("/");
  const Placement facts = ReadPlacement(config.ranks, config.device.threads);
  InfoReport report;
  for (const Rows& rows :
       {BuildRows(), MachineRows(machine), KernelRows(), LaunchRows(job, facts, machine)}) {
    report.rows.insert(report.rows.end(), rows.begin(), rows.end());
  }
  report.warnings = PlacementAdvice(facts);
  return report;
}

int RunInfo(const RunConfig& config, Job& job) {
  if (!job.speaks()) return 0;
  const InfoReport report = MakeInfoReport(config, job);
  fmt::print("{}", ToText(report));
  WriteJsonReport(config, ToJson(report));
  return 0;
}

}  // namespace annulus::runtime
