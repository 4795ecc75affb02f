#include "runtime/cli/json_report.h"

#include <nlohmann/json.hpp>

#include "kernels/base/error.h"
#include "runtime/io/atomic_file.h"

namespace annulus::runtime {

void WriteJsonReport(const RunConfig& config, const nlohmann::ordered_json& json) {
  if (config.json.empty()) return;
  try {
    WriteFileAtomically(config.json, json.dump(2) + "\n");
  } catch (const SystemError& failure) {
    ThrowConfigError("--json {} cannot be written: {}", config.json, failure.what());
  }
}

}  // namespace annulus::runtime
