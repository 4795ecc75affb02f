#include "runtime/cli/commands.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <new>
#include <string>
#include <system_error>

#include "kernels/base/error.h"
#include "runtime/cli/bench_command.h"
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

// Of the commands whose names begin with `prefix`.
std::string GeneralHelp(std::string_view prefix) {
  std::string text = fmt::format(
      "Usage: annulus {}COMMAND [--config FILE] [--SECTION.OPTION VALUE ...]\n\nCommands:\n",
      prefix);
  for (const Command& command : Commands()) {
    if (!command.name.starts_with(prefix)) continue;
    text += fmt::format("  {:<17}{}\n", command.name, command.summary);
  }
  return text +
         "\nannulus COMMAND --help lists a command's options. annulus --version names this build.\n"
         "[section] option = VALUE in the file is --section.option VALUE on the command line.\n";
}

std::string CommandHelp(const Command& command, const OptionSet& options) {
  return fmt::format("Usage: annulus {} [--OPTION VALUE ...]\n\n{}\n\nOptions:\n{}", command.name,
                     command.summary, OptionsHelp(options));
}

bool AsksForHelp(std::string_view argument) { return argument == "--help" || argument == "-h"; }

// The commands whose names are `word` and a second one: "bench attention", "bench wall".
std::vector<std::string_view> FamilyOf(std::string_view word) {
  std::vector<std::string_view> family;
  for (const Command& command : Commands()) {
    const bool starts = command.name.starts_with(word);
    if (starts && command.name.substr(word.size()).starts_with(' ')) family.push_back(command.name);
  }
  return family;
}

// The command whose name `words` begin with.
const Command& FindCommand(std::span<const std::string> words) {
  const std::string pair = words.size() > 1 ? words[0] + " " + words[1] : words[0];
  std::vector<std::string> names;
  for (const Command& command : Commands()) {
    if (command.name == words[0] || command.name == pair) return command;
    names.emplace_back(command.name.substr(0, command.name.find(' ')));
  }
  if (const auto family = FamilyOf(words[0]); !family.empty()) {
    ThrowConfigError("there is no command '{}'; choose {} (see annulus {} --help)", pair,
                     fmt::join(family, " or "), words[0]);
  }
  ThrowConfigError("there is no command '{}'; did you mean {}? (see annulus --help)", words[0],
                   Nearest(words[0], names));
}

size_t WordsOf(const Command& command) {
  return command.name.find(' ') == std::string_view::npos ? 1 : 2;
}

// Prints what `annulus --help`, `annulus bench --help` and `annulus --version` ask for. Returns
// false for arguments that are none of these.
bool Answers(std::span<const std::string> arguments) {
  if (arguments[0] == "--version") {
    fmt::print("annulus {}\n", Version());
  } else if (AsksForHelp(arguments[0])) {
    fmt::print("{}", GeneralHelp(""));
  } else if (arguments.size() > 1 && AsksForHelp(arguments[1]) && !FamilyOf(arguments[0]).empty()) {
    fmt::print("{}", GeneralHelp(arguments[0] + " "));
  } else {
    return false;
  }
  return true;
}

int Dispatch(std::span<const std::string> arguments, Job& job) {
  job.Detect();
  if (arguments.empty()) ThrowConfigError("a command is missing (see annulus --help)");
  if (Answers(arguments)) return 0;
  const Command& command = FindCommand(arguments);
  const OptionSet options{command.name, command.groups};
  const std::span<const std::string> rest = arguments.subspan(WordsOf(command));
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
        "output", "ranks", "machine", "trace"},
       /*over_ranks=*/true,
       RunTrain},
      {"plan",
       "runs a step dry: memory, FLOPs, traffic and time of any number of ranks, on one core",
       {"model", "data", "train", "optimizer", "parallel", "attention", "memory", "device", "ranks",
        "machine", "json"},
       /*over_ranks=*/false,
       RunPlan},
      {"check",
       "compares loss and every gradient of all ranks with those of one",
       {"model", "data", "train", "optimizer", "parallel", "attention", "memory", "device", "ranks",
        "json"},
       /*over_ranks=*/true,
       RunCheck},
      {"bench attention",
       "measures attention, fused and naive, beside large matrix products",
       {"bench", "device.kind", "device.tf32", "json", "svg"},
       /*over_ranks=*/false,
       RunBenchAttention},
      {"bench wall",
       "measures from which length on attention costs more than the rest of a layer",
       {"bench", "device.kind", "device.tf32", "json", "svg"},
       /*over_ranks=*/false,
       RunBenchWall},
      {"bench ring",
       "measures ring attention over the ranks of a launch beside one process on the same cores or "
       "GPU",
       {"bench.n",
        "bench.head_dim",
        "bench.dtype",
        "bench.mask",
        "bench.heads",
        "bench.kv_heads",
        "bench.batch",
        "bench.window",
        "bench.repetitions",
        "bench.roof_size",
        "bench.memory_bytes",
        "bench.dry",
        "parallel.partition",
        "parallel.strategy",
        "parallel.ulysses_size",
        "parallel.node_size",
        "parallel.blocks_in_flight",
        "parallel.shared_memory",
        "parallel.transport",
        "parallel.timeout_s",
        "device",
        "ranks",
        "machine",
        "json",
        "svg"},
       /*over_ranks=*/true,
       RunBenchRing},
      {"bench scaling",
       "measures the training step over 1, 2, 4, ... ranks of a launch",
       {"bench.mode", "bench.repetitions", "bench.roof_size", "bench.dry", "model", "train",
        "optimizer", "parallel", "attention", "memory", "device", "ranks", "machine", "json",
        "svg"},
       /*over_ranks=*/true,
       RunBenchScaling},
      {"bench calibrate",
       "measures the rates that plan predicts times by, for the ranks of a launch",
       {"bench.dtype", "bench.head_dim", "bench.sizes", "bench.repetitions", "parallel.transport",
        "parallel.timeout_s", "device", "ranks", "machine"},
       /*over_ranks=*/true,
       RunBenchCalibrate},
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
