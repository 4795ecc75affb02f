#include "runtime/cli/commands.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <new>
#include <string>
#include <system_error>

#include "kernels/base/error.h"
#include "runtime/cli/check_command.h"
#include "runtime/cli/info_command.h"
#include "runtime/cli/plan_command.h"
#include "runtime/cli/train_command.h"
#include "runtime/cli/version.h"
#include "runtime/config/nearest.h"
#include "runtime/config/parse.h"
#include "runtime/config/render.h"

namespace annulus::runtime {
namespace {

constexpr int kUsersMistake = 2;
constexpr int kFailedCall = 3;
constexpr int kBug = 4;

std::string GeneralHelp() {
  std::string text =
      "Usage: annulus COMMAND [--config FILE] [--SECTION.OPTION VALUE ...]\n\nCommands:\n";
  for (const Command& command : Commands()) {
    text += fmt::format("  {:<8}{}\n", command.name, command.summary);
  }
  return text +
         "\nannulus COMMAND --help lists a command's options. annulus --version names this build.\n"
         "[section] option = VALUE in the file is --section.option VALUE on the command line.\n";
}

std::string CommandHelp(const Command& command, const OptionSet& options) {
  return fmt::format("Usage: annulus {} [--OPTION VALUE ...]\n\n{}\n\nOptions:\n{}", command.name,
                     command.summary, OptionsHelp(options));
}

const Command& FindCommand(std::string_view name) {
  std::vector<std::string> names;
  for (const Command& command : Commands()) {
    if (command.name == name) return command;
    names.emplace_back(command.name);
  }
  ThrowConfigError("there is no command '{}'; did you mean {}? (see annulus --help)", name,
                   Nearest(name, names));
}

bool AsksForHelp(std::string_view argument) { return argument == "--help" || argument == "-h"; }

int Dispatch(std::span<const std::string> arguments, Job& job) {
  job.Detect();
  if (arguments.empty()) ThrowConfigError("a command is missing (see annulus --help)");
  if (AsksForHelp(arguments[0])) {
    fmt::print("{}", GeneralHelp());
    return 0;
  }
  if (arguments[0] == "--version") {
    fmt::print("annulus {}\n", Version());
    return 0;
  }
  const Command& command = FindCommand(arguments[0]);
  const OptionSet options{command.name, command.groups};
  const std::span<const std::string> rest = arguments.subspan(1);
  if (std::any_of(rest.begin(), rest.end(), AsksForHelp)) {
    fmt::print("{}", CommandHelp(command, options));
    return 0;
  }
  RunConfig config;
  if (command.over_ranks) {
    job.Start();
    job.Together([&] { config = ParseArguments(rest, options); });
  } else {
    config = ParseArguments(rest, options);
  }
  return command.run(config, job);
}

int Report(int status, const char* what, const Job& job) {
  if (status != kUsersMistake || job.speaks()) {
    std::fprintf(stderr, "annulus: error: %s\n", what);
    if (status == kBug) {
      std::fprintf(stderr, "annulus: this is a bug in annulus; please report it\n");
    }
  }
  if (status != kUsersMistake) job.AbortPeers(status);
  return status;
}

}  // namespace

std::span<const Command> Commands() {
  static const std::vector<Command> commands = {
      {"train",
       "trains a model over the ranks of a launch, or over --ranks N threads",
       {"model", "data", "train", "optimizer", "parallel", "attention", "memory", "device",
        "output", "ranks"},
       /*over_ranks=*/true,
       RunTrain},
      {"plan",
       "runs a step dry: memory, FLOPs and traffic of any number of ranks, on one core",
       {"model", "data", "train", "optimizer", "parallel", "attention", "memory", "device", "ranks",
        "json"},
       /*over_ranks=*/false,
       RunPlan},
      {"check",
       "compares loss and every gradient of all ranks with those of one",
       {"model", "data", "train", "optimizer", "parallel", "attention", "memory", "device", "ranks",
        "json"},
       /*over_ranks=*/true,
       RunCheck},
      {"info",
       "shows what was built in, what this machine offers and what is wrong with the launch",
       {"json", "ranks", "device.threads"},
       /*over_ranks=*/false,
       RunInfo},
  };
  return commands;
}

int RunCommand(int argc, const char* const* argv) noexcept {
  Job job;
  try {
    return Dispatch(std::vector<std::string>(argv + std::min(argc, 1), argv + argc), job);
  } catch (const ConfigError& error) {
    return Report(kUsersMistake, error.what(), job);
  } catch (const SystemError& error) {
    return Report(kFailedCall, error.what(), job);
  } catch (const std::system_error& error) {
    return Report(kFailedCall, error.what(), job);
  } catch (const std::bad_alloc&) {
    return Report(kFailedCall, "out of memory", job);
  } catch (const std::exception& error) {
    return Report(kBug, error.what(), job);
  } catch (...) {
    return Report(kBug, "an exception of unknown type", job);
  }
}

}  // namespace annulus::runtime
