// `annulus` with the emulator in CUDA's place, run as a user runs it.
#pragma once

#include "tests/cli/annulus_command.h"

namespace annulus::runtime {

// `emulator` as ANNULUS_EMULATOR takes it (tests/cuda/emulator/options.h).
inline Outcome RunEmulated(const Arguments& arguments, const std::string& emulator = "",
                           const Launcher& launcher = {}) {
  Variables variables = launcher.variables;
  variables["ANNULUS_EMULATOR"] = emulator;
  return RunCommandLine(launcher.command + Arguments{ANNULUS_EMULATED_PROGRAM} + arguments,
                        variables);
}

}  // namespace annulus::runtime
