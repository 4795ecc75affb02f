#include "runtime/cli/info_command.h"

#include <fmt/format.h>
#include <hwy/highway.h>
#include <oneapi/dnnl/dnnl.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include "kernels/base/error.h"
#include "runtime/cli/launch_advice.h"
#include "runtime/cli/machine.h"
#include "runtime/cli/system_file.h"
#include "runtime/cli/version.h"

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

LaunchFacts FactsOf(const RunConfig& config, const MachineFacts& machine) {
  const char* limit = std::getenv("OMP_THREAD_LIMIT");
  return {.cores_online = machine.cores_online,
          .affinity_cores = AffinityCores(),
          .cgroup_cores = machine.cgroup_cores,
          .ranks = std::max(config.ranks, 1),
          .threads = config.device.threads,
          .omp_thread_limit = static_cast<int>(std::min<int64_t>(
              WholeNumber(limit == nullptr ? "" : limit).value_or(0), INT32_MAX))};
}

Rows LaunchRows(const LaunchFacts& facts, const MachineFacts& machine) {
  Rows rows = {
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

void WriteJson(const std::string& path, const nlohmann::ordered_json& json) {
  errno = 0;
  std::ofstream file(path);
  file << json.dump(2) << '\n';
  file.close();
  if (!file) ThrowSystemError("json: cannot write {}: {}", path, std::strerror(errno));
}

}  // namespace

InfoReport MakeInfoReport(const RunConfig& config) {
  const MachineFacts machine = ReadMachine("/");
  const LaunchFacts facts = FactsOf(config, machine);
  InfoReport report;
  for (const Rows& rows : {BuildRows(), MachineRows(machine), LaunchRows(facts, machine)}) {
    report.rows.insert(report.rows.end(), rows.begin(), rows.end());
  }
  report.warnings = LaunchAdvice(facts);
  return report;
}

int RunInfo(const RunConfig& config) {
  const InfoReport report = MakeInfoReport(config);
  fmt::print("{}", ToText(report));
  if (!config.json.empty()) WriteJson(config.json, ToJson(report));
  return 0;
}

}  // namespace annulus::runtime
