// What this build and this machine are: for `annulus info`, and beside every measurement.
#pragma once

#include <nlohmann/json.hpp>
#include <vector>

#include "runtime/cli/info_report.h"
#include "runtime/machine/machine.h"

namespace annulus::runtime {

// Compiler and libraries.
std::vector<InfoRow> BuildRows();

// CPU, instruction sets, cores, memory and caches.
std::vector<InfoRow> MachineRows(const MachineFacts& machine);

// As in a run's start-up table: what serves each kind of work here, and why.
std::vector<InfoRow> KernelRows();

// The rows above of this machine as one object, {"KEY": value, ...}.
nlohmann::ordered_json MachineJson();

}  // namespace annulus::runtime
