// The command as a user meets it: exit status, standard output and standard error.
#include "runtime/cli/commands.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "runtime/cli/info_report.h"

namespace annulus::runtime {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

struct Outcome {
  int status = 0;
  std::string out;
  std::string err;
};

Outcome Annulus(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), "annulus");
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  const int status = RunCommand(static_cast<int>(arguments.size()), arguments.data());
  return {status, testing::internal::GetCapturedStdout(), testing::internal::GetCapturedStderr()};
}

TEST(CommandsTest, HelpListsEveryCommand) {
  const Outcome outcome = Annulus({"--help"});
  EXPECT_EQ(outcome.status, 0);
  EXPECT_EQ(outcome.err, "");
  EXPECT_THAT(outcome.out, StartsWith("Usage: annulus COMMAND"));
  for (const Command& command : Commands()) {
    EXPECT_THAT(outcome.out, HasSubstr(fmt::format("\n  {}", command.name)));
    EXPECT_THAT(outcome.out, HasSubstr(std::string(command.summary)));
  }
  EXPECT_EQ(Annulus({"-h"}).out, outcome.out);
}

TEST(CommandsTest, EveryCommandHasHelp) {
  for (const Command& command : Commands()) {
    const std::string name(command.name);
    const size_t blank = std::min(name.find(' '), name.size());
    const std::string first = name.substr(0, blank),
                      second = name.substr(std::min(blank + 1, name.size()));
    const auto ask = [&](std::vector<const char*> rest) {
      if (!second.empty()) rest.insert(rest.begin(), second.c_str());
      rest.insert(rest.begin(), first.c_str());
      return Annulus(rest);
    };
    const Outcome outcome = ask({"--help"});
    EXPECT_EQ(outcome.status, 0);
    EXPECT_THAT(outcome.out, StartsWith("Usage: annulus " + name));
    EXPECT_THAT(outcome.out, HasSubstr("--config FILE"));
    EXPECT_EQ(ask({"--no.such", "-h"}).out, outcome.out);
  }
}

TEST(CommandsTest, VersionIsOneLine) {
  const Outcome outcome = Annulus({"--version"});
  EXPECT_EQ(outcome.status, 0);
  EXPECT_THAT(outcome.out, testing::MatchesRegex("annulus [0-9]+\\.[0-9]+\\.[0-9]+\n"));
}

TEST(CommandsTest, TheUsersMistakesExitWith2) {
  const Outcome none = Annulus({});
  EXPECT_EQ(none.status, 2);
  EXPECT_EQ(none.err, "annulus: error: a command is missing (see annulus --help)\n");
  const Outcome unknown = Annulus({"inof"});
  EXPECT_EQ(unknown.status, 2);
  EXPECT_EQ(unknown.out, "");
  EXPECT_EQ(unknown.err,
            "annulus: error: there is no command 'inof'; did you mean info? (see annulus "
            "--help)\n");
  const Outcome option = Annulus({"info", "--jsn", "x"});
  EXPECT_EQ(option.status, 2);
  EXPECT_EQ(option.err, "annulus: error: --jsn is not an option; did you mean --json?\n");
  EXPECT_EQ(Annulus({"info", "--config", "/nonexistent.ini"}).status, 2);
}

TEST(CommandsTest, BenchNeedsToKnowWhichOne) {
  const Outcome help = Annulus({"bench", "--help"});
  EXPECT_EQ(help.status, 0);
  EXPECT_THAT(help.out, StartsWith("Usage: annulus bench COMMAND"));
  EXPECT_THAT(help.out, HasSubstr("\n  bench wall "));
  EXPECT_THAT(help.out, testing::Not(HasSubstr("\n  train ")));
  EXPECT_EQ(Annulus({"bench"}).err,
            "annulus: error: there is no command 'bench'; choose bench attention or bench wall "
            "or bench ring or bench scaling or bench calibrate "
            "(see annulus bench --help)\n");
  EXPECT_EQ(Annulus({"bench", "atention"}).err,
            "annulus: error: there is no command 'bench atention'; choose bench attention or bench "
            "wall or bench ring or bench scaling or bench calibrate (see annulus bench --help)\n");
  EXPECT_THAT(Annulus({"bnch", "wall"}).err, HasSubstr("did you mean bench?"));
}

TEST(CommandsTest, BenchRefusesWhatItCannotMeasure) {
  const auto error = [](const char* option, const char* value) {
    const Outcome outcome = Annulus({"bench", "attention", option, value});
    EXPECT_EQ(outcome.status, 2);
    return outcome.err;
  };
  EXPECT_EQ(error("--bench.dtype", "f32,f64"),
            "annulus: error: bench.dtype: 'f64' is unknown; valid: f32, bf16\n");
  EXPECT_THAT(error("--bench.mask", "causal,sparse"),
              HasSubstr("'sparse' is unknown; valid: full"));
  EXPECT_EQ(error("--bench.n", "64,128,64"), "annulus: error: bench.n: 64 is given twice\n");
  EXPECT_EQ(error("--bench.n", "64,"), "annulus: error: bench.n: '' is not a whole number\n");
  EXPECT_EQ(error("--bench.kv_heads", "5"),
            "annulus: error: bench.kv_heads = 5 does not divide bench.heads = 8: every key/value "
            "head serves as many query heads\n");
  EXPECT_THAT(Annulus({"bench", "wall", "--bench.mask", "full,causal"}).err,
              HasSubstr("bench wall takes one value of bench.mask, not 2"));
  EXPECT_THAT(error("--train.steps", "5"),
              HasSubstr("annulus bench attention takes no --train.steps"));
}

// The whole way, with its files.
TEST(CommandsTest, BenchWritesItsReports) {
  const std::string json_path = testing::TempDir() + "commands_test_bench.json";
  const std::string svg_path = testing::TempDir() + "commands_test_bench.svg";
  for (const char* bench : {"attention", "wall"}) {
    const Outcome outcome =
        Annulus({"bench", bench, "--bench.n", "64,128", "--bench.heads", "2", "--bench.head_dim",
                 "16", "--bench.repetitions", "1", "--bench.roof_size", "64", "--json",
                 json_path.c_str(), "--svg", svg_path.c_str()});
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    EXPECT_THAT(outcome.err, StartsWith("measuring n = 64, D = 16, f32, causal, "));
    std::ifstream json_file(json_path), svg_file(svg_path);
    const auto json = nlohmann::json::parse(json_file);
    EXPECT_EQ(json["bench"], bench);
    for (const char* key : {"cpu", "isa", "cores_online", "compiler", "onednn", "highway"}) {
      EXPECT_TRUE(json["machine"].contains(key)) << key;
    }
    EXPECT_GE(json["rows"].size(), 6u);
    std::string first_line;
    std::getline(svg_file, first_line);
    EXPECT_THAT(first_line, StartsWith("<svg xmlns=\"http://www.w3.org/2000/svg\""));
    std::filesystem::remove(json_path);
    std::filesystem::remove(svg_path);
  }
}

TEST(CommandsTest, AReportThatCannotBeWrittenIsTheUsersMistake) {
  const Outcome outcome = Annulus({"info", "--json", "/nonexistent/a.json"});
  EXPECT_EQ(outcome.status, 2);
  EXPECT_EQ(outcome.err,
            "annulus: error: --json /nonexistent/a.json cannot be written: open "
            "'/nonexistent/a.json': No such file or directory\n");
}

TEST(CommandsTest, InfoSaysTheSameToPeopleAndMachines) {
  const std::string path = testing::TempDir() + "commands_test_info.json";
  const Outcome outcome = Annulus({"info", "--json", path.c_str(), "--ranks", "1000000"});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  std::ifstream file(path);
  const auto json = nlohmann::json::parse(file);
  std::filesystem::remove(path);
  for (const char* section : {"build", "machine", "kernels", "launch"}) {
    ASSERT_TRUE(json.contains(section));
    EXPECT_THAT(outcome.out, HasSubstr(section));
    for (const auto& [key, value] : json[section].items()) {
      EXPECT_THAT(outcome.out, HasSubstr("\n  " + key + " "));
    }
  }
  EXPECT_TRUE(json["kernels"].contains("bf16_products"));
  EXPECT_EQ(json["launch"]["ranks"], 1000000);
  EXPECT_EQ(json["launch"]["threads_per_rank"], 1);
  ASSERT_GE(json["warnings"].size(), 1u);
  EXPECT_THAT(json["warnings"][0], HasSubstr("1000000 ranks share"));
  EXPECT_THAT(outcome.out, HasSubstr("warning: " + json["warnings"][0].get<std::string>()));
}

TEST(InfoReportTest, TextIsAlignedAndBytesReadable) {
  const InfoReport report{{{"a", "memory_bytes", 3 << 29},
                           {"a", "isa", {"x", "y"}},
                           {"b", "half", 0.5},
                           {"b", "none_bytes", 0}},
                          {"beware"}};
  EXPECT_EQ(ToText(report),
            "a\n"
            "  memory_bytes  1610612736 (1.5 GiB)\n"
            "  isa           x y\n"
            "\nb\n"
            "  half          0.5\n"
            "  none_bytes    0 (0 B)\n"
            "\nwarning: beware\n");
  EXPECT_EQ(ToJson(report).dump(),
            R"({"a":{"memory_bytes":1610612736,"isa":["x","y"]},"b":{"half":0.5,"none_bytes":0},)"
            R"("warnings":["beware"]})");
}

}  // namespace
}  // namespace annulus::runtime
