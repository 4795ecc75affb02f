#include "runtime/cli/info_command.h"

#include <fmt/format.h>
#include <hwy/highway.h>
#include <oneapi/dnnl/dnnl.h>

#include <algorithm>
#include <cstdlib>

#include "kernels/cpu/cpu_table.h"
#include "parallel/mpi_communicator.h"
#include "runtime/cli/json_report.h"
#include "runtime/cli/version.h"
#include "runtime/machine/machine.h"
#include "runtime/machine/placement.h"
#include "runtime/machine/system_file.h"

namespace annulus::runtime {
namespace {

using Rows = std::vector<InfoRow>;

std::string OneDnnVersion() {
  const dnnl_version_t* version = dnnl_version();
  return fmt::format("{}.{}.{}", version->major, version->minor, version->patch);
}

std::string Compiler() {
#if defined(__clang__)
  return __VERSION__;  // names Clang itself
#else
  return "GCC " __VERSION__;
#endif
}

// Targets are bits, the best one the lowest.
std::string BestHighwayTarget() {
  const int64_t targets = hwy::SupportedTargets();
  return hwy::TargetName(targets & -targets);
}

Rows BuildRows() {
  return {
      {"build", "version", Version()},
      {"build", "build_type", BuildType()},
      {"build", "compiler", Compiler()},
      {"build", "onednn", OneDnnVersion()},
      {"build", "highway", fmt::format("{}.{}.{}", HWY_MAJOR, HWY_MINOR, HWY_PATCH)},
      {"build", "mpi", parallel::MpiAvailable() ? parallel::MpiLibrary() : "not built in"},
      {"build", "cuda", "not built in"},
      {"build", "nccl", "not built in"},
  };
}

Rows MachineRows(const MachineFacts& machine) {
  Rows rows = {
      {"machine", "cpu", machine.cpu_model},
      {"machine", "isa", InstructionSets()},
      {"machine", "highway_target", BestHighwayTarget()},
      {"machine", "cores_online", machine.cores_online},
      {"machine", "cores_physical", machine.cores_physical},
      {"machine", "memory_bytes", machine.memory_bytes},
      {"machine", "memory_available_bytes", machine.memory_available_bytes},
  };
  for (const CacheFacts& cache : machine.caches) {
    rows.push_back({"machine", cache.name + "_bytes", cache.bytes});
    rows.push_back({"machine", cache.name + "_shared_by_cores", cache.shared_by});
  }
  return rows;
}

// As in a run's start-up table: what serves each kind of work here, and why.
Rows KernelRows() {
  Rows rows;
  for (const kernels::KernelChoice& choice : kernels::CpuTable(/*threads=*/1).Choices()) {
    std::string key = choice.work;
    std::replace(key.begin(), key.end(), ' ', '_');
    rows.push_back({"kernels", key, fmt::format("{} ({})", choice.kernel, choice.reason)});
  }
  return rows;
}

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
