// `annulus bench`: measurements, each beside the roof of the same moment.
#pragma once

#include "runtime/cli/job.h"
#include "runtime/config/run_config.h"

namespace annulus::runtime {

// Print a report; also write it to config.json and draw it to config.svg where these are given.
// Progress goes to standard error. Return the exit status. Throw ConfigError and SystemError.
int RunBenchAttention(const RunConfig& config, Job& job);
int RunBenchWall(const RunConfig& config, Job& job);

// On all ranks of a launch, or of config.ranks threads; with bench.dry nothing runs.
int RunBenchRing(const RunConfig& config, Job& job);
int RunBenchScaling(const RunConfig& config, Job& job);

// Likewise; writes the machine's file to config.machine, or prints it where that is empty.
int RunBenchCalibrate(const RunConfig& config, Job& job);

}  // namespace annulus::runtime
