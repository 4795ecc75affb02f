// The --json FILE of a command.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "runtime/config/run_config.h"

namespace annulus::runtime {

// Writes `json` to config.json, whole or not at all, where that is given. Throws ConfigError where
// the file cannot be written.
void WriteJsonReport(const RunConfig& config, const nlohmann::ordered_json& json);

}  // namespace annulus::runtime
