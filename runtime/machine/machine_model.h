// What a machine can do, as a plan prices a step: rates of kernels and of links.
#pragma once

#include <map>
#include <string>

#include "kernels/base/compute_rates.h"
#include "parallel/link_clock.h"

namespace annulus::runtime {

struct MachineModel {
  std::string name;          // of the device, as in "NVIDIA H100 SXM"
  std::string source;        // where the numbers come from
  int ranks = 1;             // that ran at once when they were taken
  int threads_per_rank = 1;  // of each of these; 0: a device computes
  kernels::ComputeRates compute;
  parallel::NetworkRates network;
  bool has_within_node = false;
  bool has_between_nodes = false;
  std::map<std::string, std::string> sources;  // of single sections, by name

  // Throws ConfigError where `ranks` ranks need a link that the model has no rate of.
  void CheckLinks(int ranks) const;

  bool operator==(const MachineModel&) const = default;
};

}  // namespace annulus::runtime
