#include "runtime/machine/placement.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>

#include "runtime/machine/machine.h"
#include "runtime/machine/system_file.h"

namespace annulus::runtime {

Placement ReadPlacement(int ranks, int threads) {
  const MachineFacts machine = ReadMachine("/");
  const char* limit = std::getenv("OMP_THREAD_LIMIT");
  return {.cores_online = machine.cores_online,
          .affinity_cores = AffinityCores(),
          .cgroup_cores = machine.cgroup_cores,
          .ranks = std::max(ranks, 1),
          .threads = threads,
          .omp_thread_limit = static_cast<int>(std::min<int64_t>(
              WholeNumber(limit == nullptr ? "" : limit).value_or(0), INT32_MAX))};
}

int RanksSharingCores(const Placement& placement, int ranks_here) {
  const int64_t online = std::max(placement.cores_online, placement.affinity_cores);
  return static_cast<int>(
      std::max<int64_t>(1, (int64_t{ranks_here} * placement.affinity_cores + online - 1) / online));
}

int UsableCores(const Placement& facts) {
  double cores = facts.affinity_cores;
  if (facts.cgroup_cores > 0) cores = std::min(cores, facts.cgroup_cores);
  return std::max(static_cast<int>(cores), 1);
}

int ThreadsPerRank(const Placement& facts) {
  return facts.threads > 0 ? facts.threads : std::max(1, UsableCores(facts) / facts.ranks);
}

std::vector<std::string> PlacementAdvice(const Placement& facts) {
  std::vector<std::string> advice;
  const int cores = UsableCores(facts);
  const int threads = ThreadsPerRank(facts);
  const int64_t asked = int64_t{threads} * facts.ranks;
  if (facts.affinity_cores == 1 && facts.cores_online > 1 && threads > 1) {
    advice.push_back(
        fmt::format("this process is pinned to 1 of {} cores, but device.threads = {}: launch with "
                    "mpirun --bind-to none or srun --cpus-per-task={}",
                    facts.cores_online, threads, threads));
  } else if (facts.ranks > cores) {
    advice.push_back(fmt::format(
        "{} ranks share {} core{}: expect right results, but no speed-up past {} rank{}",
        facts.ranks, cores, cores == 1 ? "" : "s", cores, cores == 1 ? "" : "s"));
  } else if (asked > cores) {
    advice.push_back(fmt::format(
        "{} rank{} of {} threads want {} cores and have {}: set device.threads to {} or leave it "
        "out",
        facts.ranks, facts.ranks == 1 ? "" : "s", threads, asked, cores,
        std::max(1, cores / facts.ranks)));
  }
  if (facts.cgroup_cores > 0 && facts.cgroup_cores < facts.affinity_cores) {
    advice.push_back(fmt::format(
        "the control group (a container or a job) allows {:.3g} of the {} cores seen: {} used",
        facts.cgroup_cores, facts.affinity_cores,
        cores == 1 ? "1 is" : fmt::format("{} are", cores)));
  }
  if (facts.omp_thread_limit > 0 && facts.omp_thread_limit < threads) {
    advice.push_back(fmt::format("OMP_THREAD_LIMIT = {} holds back {} threads per rank: unset it",
                                 facts.omp_thread_limit, threads));
  }
  return advice;
}

}  // namespace annulus::runtime
