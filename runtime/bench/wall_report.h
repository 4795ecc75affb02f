// What `annulus bench wall` shows.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "runtime/bench/wall_bench.h"

namespace annulus::runtime {

// A table, the fitted exponents, where attention overtakes the MLP and why no larger n was
// measured.
std::string ToText(const WallReport& report);

// {"rows": [...], "exponents": {...}, "crossover": {...}, ...}; docs/bench.md lists the keys.
nlohmann::ordered_json ToJson(const WallReport& report);

// Time and memory over n.
std::string ToSvg(const WallReport& report);

}  // namespace annulus::runtime
