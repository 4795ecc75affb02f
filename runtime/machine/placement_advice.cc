#include "runtime/machine/placement_advice.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "runtime/machine/machine.h"

namespace annulus::runtime {
namespace {

using parallel::Launcher;

constexpr double kRounding = 1e-6;  // of sums of parts of cores

std::string Count(int64_t count, std::string_view what) {
  return fmt::format("{} {}{}", count, what, count == 1 ? "" : "s");
}

// Ranks of a host, summed up.
struct Ranks {
  int64_t count = 0;
  std::set<int> cores = {};
  double most_cores = 0;  // of one rank
  int64_t threads = 0;    // of all of them
  int most_threads = 0;   // of one rank

  void Add(const Placement& placement, double cores_each) {
    count += placement.ranks;
    cores.insert(placement.cores.begin(), placement.cores.end());
    most_cores = std::max(most_cores, cores_each);
    const int each = placement.threads > 0 ? placement.threads
                                           : std::max(1, static_cast<int>(cores_each + kRounding));
    threads += each * placement.ranks;
    most_threads = std::max(most_threads, each);
  }
};

struct Host {
  Placement first;  // what is the host's, any of its ranks knows
  Ranks all;
  Ranks crowded;    // with less than a core
  Ranks stretched;  // with fewer cores than threads

  bool limited() const { return first.cgroup_cores > 0; }
  int64_t limit() const { return std::max<int64_t>(1, static_cast<int64_t>(first.cgroup_cores)); }
  // Cores that `ranks` can keep busy.
  int64_t CoresFor(const Ranks& ranks) const {
    const auto cores = std::max<int64_t>(1, static_cast<int64_t>(ranks.cores.size()));
    return limited() ? std::min(cores, limit()) : cores;
  }
  // Cores that ranks could be given without asking for more of the host.
  int64_t cores_at_hand() const {
    if (first.launcher == Launcher::kNone) return static_cast<int64_t>(all.cores.size());
    const int64_t cores = first.launcher_cores > 0 ? first.launcher_cores : first.cores_online;
    return limited() ? std::min(cores, limit()) : cores;
  }
};

// How to start ranks with `cores` cores each.
std::string LaunchWith(Launcher launcher, int64_t cores) {
  switch (launcher) {
    case Launcher::kOpenMpi:
      return fmt::format("launch with mpirun --bind-to none or --map-by slot:PE={}", cores);
    case Launcher::kHydra:
      return fmt::format("launch with mpirun -bind-to none or -bind-to core:{}", cores);
    case Launcher::kSlurm:
      return fmt::format("launch with srun --cpus-per-task={}", cores);
    case Launcher::kNone:
      break;
  }
  return fmt::format("start it on {} cores (taskset)", cores);
}

std::string Crowded(const Host& host) {
  const Ranks& ranks = host.crowded;
  const auto pinned = static_cast<int64_t>(ranks.cores.size());
  const int64_t cores = host.CoresFor(ranks), at_hand = host.cores_at_hand();
  if (pinned < ranks.count && pinned < at_hand) {
    return fmt::format(
        "{} are pinned to the same {} ({}) of {}: {}", Count(ranks.count, "rank"),
        pinned == 1 ? "core" : Count(pinned, "core"),
        CpuListText({ranks.cores.begin(), ranks.cores.end()}), at_hand,
        LaunchWith(host.first.launcher,
                   std::max<int64_t>(1, host.first.launcher_cores / host.all.count)));
  }
  return fmt::format("{} share {}: expect right results, but no speed-up past {}",
                     Count(ranks.count, "rank"), Count(cores, "core"), Count(cores, "rank"));
}

// Ranks have fewer cores than device.threads.
std::string Stretched(const Host& host) {
  const Ranks& ranks = host.stretched;
  const int64_t at_hand = host.cores_at_hand();
  if (ranks.threads <= at_hand && host.CoresFor(ranks) < at_hand) {
    return fmt::format("{} pinned to {:.3g} core{}{} of {}, but device.threads = {}: {}",
                       ranks.count == 1 ? "1 rank is" : fmt::format("{} ranks are", ranks.count),
                       ranks.most_cores, ranks.most_cores > 1 ? "s" : "",
                       ranks.count == 1 ? "" : " each", at_hand, ranks.most_threads,
                       LaunchWith(host.first.launcher, ranks.most_threads));
  }
  const int64_t cores = host.CoresFor(ranks);
  return fmt::format("{} of {} want {} cores and have {}: set device.threads to {} or leave it out",
                     Count(ranks.count, "rank"), Count(ranks.most_threads, "thread"), ranks.threads,
                     cores, std::max<int64_t>(1, cores / ranks.count));
}

// A launcher's binding keeps ranks from cores that it could have given them; "" where it does not.
std::string LeftIdle(const Host& host) {
  if (host.first.launcher_cores == 0 || host.first.threads > 0) return "";
  const int64_t each = host.cores_at_hand() / host.all.count;
  if (static_cast<double>(each) < std::max(host.all.most_cores, 1.0) + 1 - kRounding) return "";
  const bool one = host.all.count == 1;
  return fmt::format("{} {} {}{} on {} of {} cores, for mpirun bound {} so: {}",
                     Count(host.all.count, "rank"), one ? "runs" : "run",
                     Count(host.all.most_threads, "thread"), one ? "" : " each",
                     host.all.cores.size(), host.cores_at_hand(), one ? "it" : "them",
                     LaunchWith(host.first.launcher, each));
}

std::vector<std::string> AdviceFor(const Host& host) {
  std::vector<std::string> advice;
  if (host.crowded.count > 0) {
    advice.push_back(Crowded(host));
  } else if (host.stretched.count > 0) {
    advice.push_back(Stretched(host));
  } else if (std::string idle = LeftIdle(host); !idle.empty()) {
    advice.push_back(std::move(idle));
  }
  const auto seen = static_cast<int64_t>(host.all.cores.size());
  if (host.limited() && host.first.cgroup_cores < static_cast<double>(seen)) {
    advice.push_back(fmt::format(
        "the control group (a container or a job) allows {:.3g} of the {} cores seen: {} used",
        host.first.cgroup_cores, seen,
        host.limit() == 1 ? "1 is" : fmt::format("{} are", host.limit())));
  }
  if (host.first.omp_thread_limit > 0 && host.first.omp_thread_limit < host.all.most_threads) {
    advice.push_back(fmt::format("OMP_THREAD_LIMIT = {} holds back {} threads per rank: unset it",
                                 host.first.omp_thread_limit, host.all.most_threads));
  }
  return advice;
}

// "node1", "node1, node2", "node1, node2 and 30 more".
std::string NamesOf(const std::vector<std::string>& hosts) {
  constexpr size_t kShown = 3;
  if (hosts.size() <= kShown) return fmt::format("{}", fmt::join(hosts, ", "));
  return fmt::format("{} and {} more", fmt::join(hosts.begin(), hosts.begin() + 2, ", "),
                     hosts.size() - 2);
}

}  // namespace

std::vector<std::string> PlacementAdvice(std::span<const Placement> job) {
  const std::vector<double> cores = CoresPerRank(job);
  std::vector<Host> hosts;  // in the order of ranks
  std::map<std::string, size_t> index;
  for (size_t i = 0; i < job.size(); ++i) {
    const auto [place, is_new] = index.try_emplace(job[i].host, hosts.size());
    if (is_new) hosts.push_back({.first = job[i], .all = {}, .crowded = {}, .stretched = {}});
    Host& host = hosts[place->second];
    host.all.Add(job[i], cores[i]);
    if (cores[i] < 1 - kRounding) host.crowded.Add(job[i], cores[i]);
    if (job[i].threads > cores[i] + kRounding) host.stretched.Add(job[i], cores[i]);
  }
  std::vector<std::pair<std::string, std::vector<std::string>>> advice;  // and its hosts
  for (const Host& host : hosts) {
    for (const std::string& text : AdviceFor(host)) {
      auto known = std::find_if(advice.begin(), advice.end(),
                                [&](const auto& entry) { return entry.first == text; });
      if (known == advice.end()) known = advice.insert(known, {text, {}});
      known->second.push_back(host.first.host);
    }
  }
  std::vector<std::string> lines;
  for (const auto& [text, names] : advice) {
    lines.push_back(fmt::format("{}: {}", NamesOf(names), text));
  }
  return lines;
}

}  // namespace annulus::runtime
