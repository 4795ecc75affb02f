// A training run from set-up to the last file.
#pragma once

#include "parallel/communicator.h"
#include "runtime/config/run_config.h"

namespace annulus::runtime {

// Runs on every rank of `world`; rank 0 prints and writes. Collective. Throws ConfigError on every
// rank alike for what the user can mend, SystemError for failed calls.
void TrainOnRank(const RunConfig& config, parallel::Communicator& world);

}  // namespace annulus::runtime
