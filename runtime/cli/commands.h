// The commands of `annulus`, as data, and their dispatch.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "runtime/cli/job.h"
#include "runtime/config/run_config.h"

namespace annulus::runtime {

struct Command {
  std::string_view name;  // one word, or two as in "bench wall"
  std::string_view summary;
  std::vector<std::string_view> groups;  // the options it takes, see OptionSet
  // Whether it runs on all ranks of a launch; else on the one process that was started.
  bool over_ranks;
  // Returns the exit status.
  int (*run)(const RunConfig& config, Job& job);
};

std::span<const Command> Commands();

// Runs `annulus` with these arguments, the program's name first. This is the one place that
// catches: it prints "annulus: error: ..." to stderr. Returns the exit status: 2 for the user's
// mistake, 3 for a failed call of the system, 4 for a bug in annulus. A user's mistake is made on
// all ranks alike, so rank 0 alone tells of it; any other failure ends the ranks of the job.
int RunCommand(int argc, const char* const* argv) noexcept;

}  // namespace annulus::runtime
