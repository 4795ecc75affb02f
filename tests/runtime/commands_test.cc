// The command as a user meets it: exit status, standard output and standard error.
#include "runtime/cli/commands.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

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
    const Outcome outcome = Annulus({name.c_str(), "--help"});
    EXPECT_EQ(outcome.status, 0);
    EXPECT_THAT(outcome.out, StartsWith("Usage: annulus " + name));
    EXPECT_THAT(outcome.out, HasSubstr("--config FILE"));
    EXPECT_EQ(Annulus({name.c_str(), "--no.such", "-h"}).out, outcome.out);
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
