#include "runtime/run/job_placement.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "runtime/machine/machine.h"
#include "runtime/run/together.h"

namespace annulus::runtime {
namespace {

nlohmann::ordered_json ToJson(const Placement& placement) {
  return {placement.host,
          CpuListText(placement.cores),
          placement.cores_online,
          placement.launcher_cores,
          placement.cgroup_cores,
          placement.threads,
          placement.omp_thread_limit,
          placement.ranks,
          placement.launcher};
}

Placement PlacementFromJson(const nlohmann::ordered_json& json) {
  return {.host = json[0],
          .cores = ParseCpuList(json[1].get<std::string>()),
          .cores_online = json[2],
          .launcher_cores = json[3],
          .cgroup_cores = json[4],
          .threads = json[5],
          .omp_thread_limit = json[6],
          .ranks = json[7],
          .launcher = json[8]};
}

std::string PlaceOf(const Placement& placement, int threads) {
  return fmt::format("{}, core{} {}, {} thread{}", placement.host,
                     placement.cores.size() == 1 ? "" : "s", CpuListText(placement.cores), threads,
                     threads == 1 ? "" : "s");
}

}  // namespace

std::vector<Placement> GatherPlacements(parallel::Communicator& world, const Placement& own) {
  std::vector<Placement> job;
  for (const auto& json : GatherJson(world, ToJson(own))) job.push_back(PlacementFromJson(json));
  return job;
}

std::vector<std::string> HostsOf(const std::vector<Placement>& job) {
  std::vector<std::string> hosts;
  for (const Placement& placement : job) hosts.push_back(placement.host);
  return hosts;
}

int NodeLocalRank(const std::vector<Placement>& job, size_t rank) {
  const auto same_host = [&](const Placement& other) { return other.host == job[rank].host; };
  const auto end = job.begin() + static_cast<std::ptrdiff_t>(rank);
  return static_cast<int>(std::count_if(job.begin(), end, same_host));
}

std::vector<PlacedRanks> DescribePlacements(const std::vector<Placement>& job) {
  std::vector<PlacedRanks> described;
  int64_t first = 0, next = 0;
  for (size_t i = 0; i < job.size(); ++i) {
    next += job[i].ranks;
    const std::string place = PlaceOf(job[i], ThreadsPerRank(job, i));
    if (i + 1 < job.size() && PlaceOf(job[i + 1], ThreadsPerRank(job, i + 1)) == place) continue;
    described.push_back({.ranks = next - first == 1 ? fmt::format("rank {}", first)
                                                    : fmt::format("ranks {}-{}", first, next - 1),
                         .place = place + (next - first == 1 ? "" : " each")});
    first = next;
  }
  return described;
}

}  // namespace annulus::runtime
