// `annulus check`.
#pragma once

#include "runtime/cli/job.h"
#include "runtime/config/run_config.h"

namespace annulus::runtime {

// Returns the exit status. Throws ConfigError and SystemError.
int RunCheck(const RunConfig& config, Job& job);

}  // namespace annulus::runtime
