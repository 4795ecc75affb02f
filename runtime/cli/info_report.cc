#include "runtime/cli/info_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace annulus::runtime {
namespace {

std::string Readable(int64_t bytes) {
  constexpr std::array kUnits = {"B", "KiB", "MiB", "GiB", "TiB"};
  double count = static_cast<double>(bytes);
  size_t unit = 0;
  while (count >= 1024 && unit + 1 < kUnits.size()) {
    count /= 1024;
    ++unit;
  }
  return fmt::format("{:.4g} {}", count, kUnits[unit]);
}

std::string ValueText(const InfoRow& row) {
  if (row.value.is_string()) return row.value.get<std::string>();
  if (row.value.is_array()) {
    std::string items;
    for (const auto& item : row.value) {
      items += fmt::format("{}{}", items.empty() ? "" : " ", item.get<std::string>());
    }
    return items;
  }
  std::string text = row.value.dump();
  if (row.key.ends_with("_bytes") && row.value.is_number_integer()) {
    text += fmt::format(" ({})", Readable(row.value.get<int64_t>()));
  }
  return text;
}

}  // namespace

std::string ToText(const InfoReport& report) {
  size_t width = 0;
  for (const InfoRow& row : report.rows) width = std::max(width, row.key.size() + 2);
  std::string text;
  std::string section;
  for (const InfoRow& row : report.rows) {
    if (row.section != section) {
      text += fmt::format("{}{}\n", text.empty() ? "" : "\n", row.section);
      section = row.section;
    }
    text += fmt::format("  {:<{}}{}\n", row.key, width, ValueText(row));
  }
  for (const std::string& warning : report.warnings)
    text += fmt::format("\nwarning: {}\n", warning);
  return text;
}

nlohmann::ordered_json ToJson(const InfoReport& report) {
  nlohmann::ordered_json json;
  for (const InfoRow& row : report.rows) json[row.section][row.key] = row.value;
  json["warnings"] = report.warnings;
  return json;
}

}  // namespace annulus::runtime
