// The `annulus` of this build, run as a user runs it.
#pragma once

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/cli/process.h"
#include "tests/runtime/temp_dir.h"

namespace annulus::runtime {

using Arguments = std::vector<std::string>;

inline Arguments operator+(Arguments left, const Arguments& right) {
  left.insert(left.end(), right.begin(), right.end());
  return left;
}

// "--a 1 --b 2" as arguments.
Arguments Words(const std::string& text);

// What goes before the program: nothing, or a launcher.
struct Launcher {
  Arguments command = {};
  Variables variables = {};
};

// A launcher of `ranks` processes.
Launcher Mpirun(int ranks);

// What every program here is started with: waiting threads do not spin, mpirun runs as root and on
// few cores.
Variables CommonVariables();

// Fails the test when it has not ended after a minute.
Outcome RunAnnulus(const Arguments& arguments, const Launcher& launcher = {});
Outcome RunCommandLine(const Arguments& command, const Variables& variables);

// Options of a model that trains in an instant: two steps of 64 tokens on one thread. `options`, as
// in "--train.steps 3", are added or replace them.
Arguments TinyModel(const std::string& options = "");

nlohmann::json ReadJson(const std::filesystem::path& path);
// One value per line.
std::vector<nlohmann::json> ReadJsonLines(const std::filesystem::path& path);

// The losses of a run's steps and evaluations, as metrics.jsonl spells them.
std::vector<std::string> LossesIn(const std::filesystem::path& output);

// A user's mistake: exit status 2 and one line on stderr, told once whatever the number of
// processes. Returns that line.
std::string ComplaintOf(const Outcome& outcome);

}  // namespace annulus::runtime
