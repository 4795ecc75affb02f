// `annulus info`: what was built in, what this machine offers, what is wrong with the launch.
#pragma once

#include <vector>

#include "runtime/cli/info_report.h"
#include "runtime/cli/job.h"
#include "runtime/config/run_config.h"
#include "runtime/machine/placement.h"

namespace annulus::runtime {

// `placements`: of all ranks, the first of them that of this process.
InfoReport MakeInfoReport(const Job& job, const std::vector<Placement>& placements);

// Prints the report, of all processes of a launch, or of config.ranks threads of this one; also
// writes it to config.json where that is given. Where launcher and MPI do not agree, that is among
// the warnings, and the report is of one process. Returns the exit status. Throws ConfigError where
// the file cannot be written.
int RunInfo(const RunConfig& config, Job& job);

}  // namespace annulus::runtime
