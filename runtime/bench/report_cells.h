// Values that a report may lack, as cells of a table and as JSON.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "runtime/bench/statistics.h"
#include "runtime/io/format.h"

namespace annulus::runtime {

template <class T>
nlohmann::ordered_json OrNull(const std::optional<T>& value) {
  return value ? nlohmann::ordered_json(*value) : nlohmann::ordered_json(nullptr);
}

// `key`, `key`_min and `key`_max.
inline void AddSpread(const std::string& key, const std::optional<Spread>& spread,
                      nlohmann::ordered_json& json) {
  json[key] = spread ? nlohmann::ordered_json(spread->median) : nullptr;
  json[key + "_min"] = spread ? nlohmann::ordered_json(spread->least) : nullptr;
  json[key + "_max"] = spread ? nlohmann::ordered_json(spread->most) : nullptr;
}

inline std::optional<double> MedianOf(const std::optional<Spread>& spread) {
  return spread ? std::optional(spread->median) : std::nullopt;
}

inline std::string TimeCell(const std::optional<double>& ms) {
  return ms ? FormatDuration(*ms / 1e3) : "-";
}

inline std::string PercentCell(const std::optional<double>& part) {
  return part ? fmt::format("{:.1f}%", 100 * *part) : "-";
}

}  // namespace annulus::runtime
