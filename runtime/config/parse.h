// From arguments and INI file to a RunConfig.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/config/options.h"

namespace annulus::runtime {

// The options that a command takes: `config`, and those whose section or whole key is listed.
struct OptionSet {
  std::string_view command;
  std::vector<std::string_view> groups;  // as in "train", "ranks", "device.threads"

  bool Takes(const Option& option) const;
};

// Reads `--key VALUE` and `--key=VALUE`, and the file that --config names; the command line takes
// precedence. A file may hold every option that can be in a file, also those that `set` does not
// take, so that one file serves all commands.
//
// train.context_schedule sets train.steps and train.sequence_length. Where those are given by the
// same or a stronger source they must agree with it.
//
// Throws ConfigError for an unknown, repeated, misplaced or malformed option. Options are not yet
// checked against each other: see validate.h.
RunConfig ParseArguments(std::span<const std::string> arguments, const OptionSet& set);

// As ParseArguments, of a file's text alone. `name` stands for the file in errors.
RunConfig ParseIniConfig(std::string_view text, std::string_view name);

// Where the results of a run go: `output`, or runs/NAME of NAME.ini; runs/default without a file.
std::string OutputDirectory(const RunConfig& config);

}  // namespace annulus::runtime
