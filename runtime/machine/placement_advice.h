// What is wrong with where the ranks of a job run.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "runtime/machine/placement.h"

namespace annulus::runtime {

// One sentence each, after the hosts that it holds for: what is wrong, and what would be right. At
// most one on each host about ranks and threads for cores: that ranks share cores while others are
// idle, that ranks or threads are more than cores, or that a launcher's binding leaves cores idle.
std::vector<std::string> PlacementAdvice(std::span<const Placement> job);

}  // namespace annulus::runtime
