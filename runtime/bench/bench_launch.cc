#include "runtime/bench/bench_launch.h"

#include <algorithm>
#include <array>

#include "kernels/base/error.h"
#include "runtime/machine/placement_advice.h"
#include "runtime/run/job_placement.h"

namespace annulus::runtime {

BenchLaunch ReadBenchLaunch(parallel::Communicator& world, int threads) {
  const std::vector<Placement> job = GatherPlacements(world, ReadPlacement(threads));
  const auto rank = static_cast<size_t>(world.rank());
  const auto here = static_cast<int>(std::count_if(
      job.begin(), job.end(), [&](const Placement& p) { return p.host == job[rank].host; }));
  const BenchLaunch launch{.threads = ThreadsPerRank(job, rank),
                           .usable_cores = UsableCores(job[rank]),
                           .ranks_per_node = here,
                           .node_local_rank = NodeLocalRank(job, rank),
                           .one_node = here == world.size(),
                           .hosts = HostsOf(job),
                           .advice = PlacementAdvice(job)};
  std::array<double, 4> extremes{static_cast<double>(here), -static_cast<double>(here),
                                 static_cast<double>(launch.threads),
                                 -static_cast<double>(launch.threads)};
  world.AllReduceMax(extremes);
  if (extremes[0] != -extremes[1]) {
    ThrowConfigError("nodes have {} to {} ranks each: start as many on each", -extremes[1],
                     extremes[0]);
  }
  if (extremes[2] != -extremes[3]) {
    ThrowConfigError("ranks would run {} to {} threads: set device.threads", -extremes[3],
                     extremes[2]);
  }
  return launch;
}

}  // namespace annulus::runtime
