#include "runtime/report/report_files.h"

#include <nlohmann/json.hpp>

#include "kernels/base/error.h"
#include "runtime/io/atomic_file.h"

namespace annulus::runtime {
namespace {

void WriteReport(std::string_view option, const std::string& path, std::string_view text) {
  try {
    WriteFileAtomically(path, text);
  } catch (const SystemError& failure) {
    ThrowConfigError("--{} {} cannot be written: {}", option, path, failure.what());
  }
}

}  // namespace

void WriteJsonReport(const RunConfig& config, const nlohmann::ordered_json& json) {
  if (!config.json.empty()) WriteReport("json", config.json, json.dump(2) + "\n");
}

void WriteTraceReport(const RunConfig& config, const nlohmann::ordered_json& json) {
  if (!config.trace.empty()) WriteReport("trace", config.trace, json.dump() + "\n");
}

void WriteSvgReport(const RunConfig& config, std::string_view svg) {
  if (!config.svg.empty()) WriteReport("svg", config.svg, svg);
}

void WriteMachineFile(const RunConfig& config, std::string_view text) {
  if (!config.machine.empty()) WriteReport("machine", config.machine, text);
}

}  // namespace annulus::runtime
