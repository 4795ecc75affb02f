// Values that a report may lack, as cells of a table and as JSON.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "runtime/bench/attention_workload.h"
#include "runtime/bench/rounds.h"
#include "runtime/bench/statistics.h"
#include "runtime/io/format.h"

namespace annulus::runtime {

template <class T>
nlohmann::ordered_json OrNull(const std::optional<T>& value) {
  return value ? nlohmann::ordered_json(*value) : nlohmann::ordered_json(nullptr);
}

inline std::string_view PassName(bool backward) { return backward ? "backward" : "forward"; }

// What an attention computes, but for who does it.
inline void AddCase(const AttentionCase& attention, nlohmann::ordered_json& json) {
  json["n"] = attention.n;
  json["batch"] = attention.batch;
  json["heads"] = attention.heads;
  json["kv_heads"] = attention.kv_heads;
  json["head_dim"] = attention.head_dim;
  json["dtype"] = kernels::NameOf(attention.dtype);
  json["mask"] = NameOf(attention.mask);
}

// `key`, `key`_min and `key`_max.
inline void AddSpread(const std::string& key, const std::optional<Spread>& spread,
                      nlohmann::ordered_json& json) {
  json[key] = spread ? nlohmann::ordered_json(spread->median) : nullptr;
  json[key + "_min"] = spread ? nlohmann::ordered_json(spread->least) : nullptr;
  json[key + "_max"] = spread ? nlohmann::ordered_json(spread->most) : nullptr;
}

// What a pass reached of the roof of its rounds, and why that may be no measure ("": it is one).
inline void AddRates(const std::optional<PassSummary>& speed, const std::string& caveat,
                     nlohmann::ordered_json& json) {
  const auto add = [&](const char* key, double PassSummary::*value) {
    json[key] = speed ? nlohmann::ordered_json(*speed.*value) : nullptr;
  };
  add("gflops", &PassSummary::gflops);
  add("roof_gflops", &PassSummary::roof_gflops);
  add("roof_ratio", &PassSummary::roof_ratio);
  add("roof_ratio_min", &PassSummary::roof_ratio_min);
  add("roof_ratio_max", &PassSummary::roof_ratio_max);
  json["roof_caveat"] = caveat;
}

inline std::string RatioCell(const std::optional<PassSummary>& speed) {
  return speed ? fmt::format("{:.3f}", speed->roof_ratio) : "-";
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
