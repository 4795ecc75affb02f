#include "runtime/bench/bench_launch.h"

#include <algorithm>
#include <array>

#include "kernels/base/error.h"
#include "runtime/machine/placement.h"
#include "runtime/run/rank_setup.h"

namespace annulus::runtime {

BenchLaunch ReadBenchLaunch(parallel::Communicator& world, int threads) {
  const std::string host = HostName();
  const std::vector<std::string> hosts = world.AllGatherText(host);
  const auto here = static_cast<int>(std::count(hosts.begin(), hosts.end(), host));
  Placement placement = ReadPlacement(here, threads);
  placement.ranks = RanksSharingCores(placement, here);
  const BenchLaunch launch{.threads = ThreadsPerRank(placement),
                           .usable_cores = UsableCores(placement),
                           .ranks_per_node = here,
                           .one_node = here == world.size()};
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
