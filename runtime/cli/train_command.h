// `annulus train`.
#pragma once

#include "runtime/cli/job.h"
#include "runtime/config/run_config.h"

namespace annulus::runtime {

// Returns the exit status. Throws ConfigError and SystemError.
int RunTrain(const RunConfig& config, Job& job);

}  // namespace annulus::runtime
