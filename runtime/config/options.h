// The one table of options: it serves --help, the INI file and the command line.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "runtime/config/run_config.h"

namespace annulus::runtime {

struct Option {
  std::string key;   // "section.name" as in the INI file, or "name" at the top level
  std::string unit;  // what stands for the value in --help: "TOKENS", "linear|cosine|constant"
  std::string help;
  // Options of one call of the command are not part of a run's configuration.
  bool in_file = true;
  // Parses `text` into the field. Throws ConfigError that starts with `place` where the text is not
  // of the option's type or out of its range.
  std::function<void(RunConfig&, std::string_view text, std::string_view place)> set;
  // The field as text that `set` reads back to the same value.
  std::function<std::string(const RunConfig&)> get;

  // "" at the top level.
  std::string_view section() const;
  std::string_view name() const;
};

// Every option, grouped by section, the top level first.
std::span<const Option> Options();

// nullptr: there is none of this key.
const Option* FindOption(std::string_view key);

}  // namespace annulus::runtime
