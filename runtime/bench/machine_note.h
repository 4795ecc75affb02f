// What a benchmark says of the machine file that it predicts by.
#pragma once

#include <string>
#include <vector>

#include "runtime/config/run_config.h"
#include "runtime/machine/machine_model.h"

namespace annulus::runtime {

// Its name and the file.
std::string NameOf(const MachineModel& machine, const std::string& file);

// Notes where its numbers were taken with another number of ranks or threads (kOnDevice: on
// devices) than are running.
void AddMachineNotes(const MachineModel& machine, int ranks, int threads,
                     std::vector<std::string>& notes);

// The file that config.machine names. Throws ConfigError where it names none.
MachineModel RequiredMachine(const RunConfig& config);

}  // namespace annulus::runtime
