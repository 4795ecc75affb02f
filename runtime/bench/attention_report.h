// What `annulus bench attention` shows.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "runtime/bench/attention_bench.h"

namespace annulus::runtime {

// A table, and the cases that were left out.
std::string ToText(const AttentionReport& report);

// {"rows": [...], "skipped": [...]}; docs/bench.md lists the keys.
nlohmann::ordered_json ToJson(const AttentionReport& report);

// The ratio to the roof over n: a chart for every head size, dtype, mask and thread count.
std::string ToSvg(const AttentionReport& report);

}  // namespace annulus::runtime
