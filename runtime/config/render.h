// A RunConfig as text.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "runtime/config/parse.h"

namespace annulus::runtime {

// An INI file of every option that can be in one; ParseIniConfig reads it back to the same values.
std::string ResolvedIni(const RunConfig& config);

// An option that differs between two resolved configurations.
struct Difference {
  std::string key;
  std::string first;
  std::string second;
};

// The first option whose value differs, in the order of `first`; a value that one of them lacks is
// "". Finds ranks that were started with different configurations.
std::optional<Difference> FirstDifference(std::string_view first, std::string_view second);

// The options of `set` by section, aligned and at most 100 columns wide, with their defaults.
std::string OptionsHelp(const OptionSet& set);

}  // namespace annulus::runtime
