// What `annulus bench ring` shows.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "runtime/bench/ring_bench.h"

namespace annulus::runtime {

std::string ToText(const RingReport& report);

// {"rows": [...], "rounds": ..., "predicted_by": ..., "notes": [...]}; docs/bench.md lists the
// keys.
nlohmann::ordered_json ToJson(const RingReport& report);

// The efficiency over n: a chart for every head size, dtype and mask.
std::string ToSvg(const RingReport& report);

}  // namespace annulus::runtime
