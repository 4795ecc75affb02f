// The files that a command writes its report to.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string_view>

#include "runtime/config/run_config.h"

namespace annulus::runtime {

// Writes `json` to config.json, whole or not at all, where that is given. Throws ConfigError where
// the file cannot be written.
void WriteJsonReport(const RunConfig& config, const nlohmann::ordered_json& json);

// The same of a trace and config.trace, on one line.
void WriteTraceReport(const RunConfig& config, const nlohmann::ordered_json& json);

// The same of a drawing and config.svg.
void WriteSvgReport(const RunConfig& config, std::string_view svg);

// The same of a machine's rates and config.machine.
void WriteMachineFile(const RunConfig& config, std::string_view text);

}  // namespace annulus::runtime
