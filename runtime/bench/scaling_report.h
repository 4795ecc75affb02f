// What `annulus bench scaling` shows.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "runtime/bench/scaling_bench.h"

namespace annulus::runtime {

std::string ToText(const ScalingReport& report);

// {"rows": [...], "rounds": ..., "predicted_by": ..., "notes": [...]}; docs/bench.md lists the
// keys.
nlohmann::ordered_json ToJson(const ScalingReport& report);

// The time of a step and the efficiency over ranks, a chart of each.
std::string ToSvg(const ScalingReport& report);

}  // namespace annulus::runtime
