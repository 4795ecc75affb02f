// Where all ranks of a job run.
#pragma once

#include <string>
#include <vector>

#include "parallel/communicator.h"
#include "runtime/machine/placement.h"

namespace annulus::runtime {

// `own` of every rank, by rank. Collective.
std::vector<Placement> GatherPlacements(parallel::Communicator& world, const Placement& own);

// By rank, where each entry stands for one rank.
std::vector<std::string> HostsOf(const std::vector<Placement>& job);

// How many of the ranks before `rank` run on its host.
int NodeLocalRank(const std::vector<Placement>& job, size_t rank);

// Ranks that are placed alike, as in "ranks 0-3", "vm, cores 0-1, 2 threads each".
struct PlacedRanks {
  std::string ranks;
  std::string place;
};
std::vector<PlacedRanks> DescribePlacements(const std::vector<Placement>& job);

}  // namespace annulus::runtime
