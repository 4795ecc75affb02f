// `annulus info`: what was built in, what this machine offers, what is wrong with the launch.
#pragma once

#include "runtime/cli/info_report.h"
#include "runtime/cli/job.h"
#include "runtime/config/run_config.h"

namespace annulus::runtime {

InfoReport MakeInfoReport(const RunConfig& config, const Job& job);

// Prints the report; also writes it to config.json where that is given. Returns the exit status.
// Throws ConfigError where the file cannot be written.
int RunInfo(const RunConfig& config, Job& job);

}  // namespace annulus::runtime
