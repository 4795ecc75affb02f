// The table of options, --help and the resolved INI file.
#include "runtime/config/options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <sstream>

#include "runtime/config/parse.h"
#include "runtime/config/render.h"
#include "tests/runtime/all_options.h"

namespace annulus::runtime {
namespace {

// Texts that differ from the option's default and that it accepts.
std::vector<std::string> Perturbations(const Option& option) {
  Arguments candidates = {"3",    "5",    "0.25", "7M", "64:7,1024:93", "a b # \"c\" \\",
                          "true", "false"};
  std::string units = option.unit;
  if (units.ends_with(",...")) units.resize(units.size() - 4);  // a list, of one entry here
  std::istringstream names(units);
  for (std::string name; std::getline(names, name, '|');) candidates.push_back(name);
  std::vector<std::string> accepted;
  for (const std::string& text : candidates) {
    RunConfig config;
    try {
      option.set(config, text, option.key);
    } catch (const ConfigError&) {
      continue;
    }
    if (option.get(config) != option.get(RunConfig())) accepted.push_back(text);
  }
  return accepted;
}

TEST(OptionsTest, KeysAreUniqueAndGroupedBySection) {
  std::set<std::string> keys;
  std::set<std::string> closed;
  std::string section;
  for (const Option& option : Options()) {
    EXPECT_TRUE(keys.insert(option.key).second) << option.key;
    if (option.section() != section) {
      EXPECT_TRUE(closed.insert(section).second) << option.key;
      section = option.section();
    }
    EXPECT_EQ(closed.count(section), 0u) << option.key;
    EXPECT_EQ(FindOption(option.key), &option);
    EXPECT_FALSE(option.help.empty()) << option.key;
  }
  EXPECT_EQ(FindOption("train.nothing"), nullptr);
}

TEST(OptionsTest, EveryDefaultIsInItsOptionsRange) {
  for (const Option& option : Options()) {
    RunConfig config;
    EXPECT_NO_THROW(option.set(config, option.get(config), option.key)) << option.key;
    EXPECT_EQ(config, RunConfig()) << option.key;
  }
}

TEST(OptionsTest, EveryOptionReachesItsOwnFieldByFileAndCommandLine) {
  std::set<std::string> fixed;  // options that have one value only
  for (const Option& option : Options()) {
    const std::vector<std::string> perturbations = Perturbations(option);
    if (perturbations.empty()) fixed.insert(option.key);
    for (const std::string& text : perturbations) {
      if (option.key == "config") continue;  // names a file to read
      const RunConfig config = Parse({"--" + option.key, text});
      EXPECT_NE(config, RunConfig()) << option.key;
      EXPECT_EQ(config, Parse({"--" + option.key + "=" + text})) << option.key;
      for (const Option& other : Options()) {
        if (other.key == option.key || option.key == "train.context_schedule") continue;
        EXPECT_EQ(other.get(config), other.get(RunConfig())) << option.key << " " << other.key;
      }
      if (!option.in_file) continue;
      EXPECT_EQ(ParseIniConfig(ResolvedIni(config), "f"), config) << option.key;
    }
  }
  EXPECT_EQ(fixed, std::set<std::string>());
}

TEST(OptionsTest, AllOptionsPerturbedAtOnceReadBack) {
  Arguments arguments;
  for (const Option& option : Options()) {
    const std::vector<std::string> perturbations = Perturbations(option);
    const bool implied = option.key == "train.steps" || option.key == "train.sequence_length";
    if (perturbations.empty() || !option.in_file || implied) continue;
    arguments.push_back("--" + option.key);
    arguments.push_back(perturbations.back());
  }
  const RunConfig config = Parse(arguments);
  EXPECT_EQ(ParseIniConfig(ResolvedIni(config), "f"), config);
}

TEST(OptionsTest, HelpDocumentsEveryOptionWithItsDefault) {
  const std::string help = OptionsHelp(kAll);
  std::string flat;  // wrapped lines joined
  std::istringstream lines(help);
  for (std::string line; std::getline(lines, line);) {
    EXPECT_LE(line.size(), 100u) << line;
    const size_t first = line.find_first_not_of(' ');
    if (first != std::string::npos) flat += " " + line.substr(first);
  }
  for (const Option& option : Options()) {
    EXPECT_THAT(help, testing::HasSubstr("--" + option.key + " " + option.unit + " "));
    const std::string value = option.get(RunConfig());
    EXPECT_THAT(
        flat, testing::HasSubstr(option.help + (value.empty() ? "" : " (default " + value + ")")));
    EXPECT_THAT(help, testing::HasSubstr(option.section().empty()
                                             ? std::string()
                                             : fmt::format("\n[{}]\n", option.section())));
  }
}

TEST(OptionsTest, HelpHoldsOnlyWhatACommandTakes) {
  const std::string help = OptionsHelp({"info", {"json", "device.threads"}});
  EXPECT_THAT(help, testing::HasSubstr("--config FILE"));
  EXPECT_THAT(help, testing::HasSubstr("--json FILE"));
  EXPECT_THAT(help, testing::HasSubstr("--device.threads THREADS"));
  EXPECT_THAT(help, testing::Not(testing::HasSubstr("--device.kind")));
  EXPECT_THAT(help, testing::Not(testing::HasSubstr("--ranks")));
}

TEST(RenderTest, FindsTheFirstDifference) {
  RunConfig a;
  EXPECT_FALSE(FirstDifference(ResolvedIni(a), ResolvedIni(a)));
  RunConfig b;
  b.train.seed = 2;
  b.parallel.timeout_s = 5;
  const std::optional<Difference> difference = FirstDifference(ResolvedIni(a), ResolvedIni(b));
  ASSERT_TRUE(difference);
  EXPECT_EQ(difference->key, "train.seed");
  EXPECT_EQ(difference->first, "1");
  EXPECT_EQ(difference->second, "2");
}

TEST(RenderTest, AnOptionOfOnlyOneSideIsADifference) {
  const std::optional<Difference> more = FirstDifference("ranks = 1\n", "ranks = 1\n[s]\na = 2\n");
  ASSERT_TRUE(more);
  EXPECT_EQ(more->key, "s.a");
  EXPECT_EQ(more->first, "");
  EXPECT_EQ(more->second, "2");
  const std::optional<Difference> fewer = FirstDifference("[s]\na = 2\n", "");
  ASSERT_TRUE(fewer);
  EXPECT_EQ(fewer->key, "s.a");
  EXPECT_EQ(fewer->second, "");
}

}  // namespace
}  // namespace annulus::runtime
