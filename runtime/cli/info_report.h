// What `annulus info` says, as rows: text for people and JSON for machines come from the same.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace annulus::runtime {

struct InfoRow {
  std::string section;
  std::string key;  // its unit is a suffix, as in memory_bytes
  nlohmann::ordered_json value;
};

struct InfoReport {
  std::vector<InfoRow> rows;  // rows of a section follow one another
  std::vector<std::string> warnings;
};

// Aligned lines by section; bytes are also given in a readable unit.
std::string ToText(const InfoReport& report);

// {"SECTION": {"KEY": value, ...}, ..., "warnings": [...]}
nlohmann::ordered_json ToJson(const InfoReport& report);

}  // namespace annulus::runtime
