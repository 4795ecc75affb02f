// The table of options, and what is made of it: parsing, --help and the resolved INI file.
#include "runtime/config/options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "runtime/config/parse.h"
#include "runtime/config/render.h"
#include "tests/runtime/message_of.h"

namespace annulus::runtime {
namespace {

using Arguments = std::vector<std::string>;

const OptionSet kAll{"train",
                     {"output", "ranks", "json", "model", "data", "train", "optimizer", "parallel",
                      "attention", "memory", "device"}};

RunConfig Parse(const Arguments& arguments) { return ParseArguments(arguments, kAll); }

std::string ErrorOf(const Arguments& arguments) {
  return MessageOf([&] { Parse(arguments); });
}

std::string IniErrorOf(std::string_view text) {
  return MessageOf([&] { ParseIniConfig(text, "f.ini"); });
}

// A file that lives as long as this.
class IniFile {
 public:
  explicit IniFile(std::string_view text) { std::ofstream(path_) << text; }
  ~IniFile() { std::filesystem::remove(path_); }
  const std::string& path() const { return path_; }

 private:
  std::string path_ =
      testing::TempDir() + testing::UnitTest::GetInstance()->current_test_info()->name() + ".ini";
};

// Texts that differ from the option's default and that it accepts.
std::vector<std::string> Perturbations(const Option& option) {
  Arguments candidates = {"3", "0.25", "7M", "64:7,1024:93", "a b # \"c\" \\", "true", "false"};
  std::istringstream names(option.unit);
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
  EXPECT_EQ(fixed, (std::set<std::string>{"model.dtype", "parallel.strategy", "device.kind"}));
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

TEST(ParseTest, CommandLineTakesPrecedenceOverTheFile) {
  const IniFile file("ranks = 2\n[train]\nsteps=7\nseed = 9 ; why\n");
  const RunConfig config = Parse({"--train.steps", "8", "--config", file.path()});
  EXPECT_EQ(config.train.steps, 8);
  EXPECT_EQ(config.train.seed, 9u);
  EXPECT_EQ(config.ranks, 2);
  EXPECT_EQ(config.config, file.path());
}

TEST(ParseTest, UnknownOptionsNameTheNearest) {
  EXPECT_EQ(ErrorOf({"--train.stpes", "5"}),
            "--train.stpes is not an option; did you mean --train.steps?");
  EXPECT_EQ(ErrorOf({"--train.stpes=5"}),
            "--train.stpes is not an option; did you mean --train.steps?");
  EXPECT_EQ(ErrorOf({"--learning_rate", "1"}),
            "--learning_rate is not an option; did you mean --optimizer.learning_rate?");
  EXPECT_EQ(IniErrorOf("[train]\nstpes = 5\n"),
            "f.ini:2: train.stpes is not an option; did you mean train.steps?");
  EXPECT_EQ(IniErrorOf("[trian]\n"), "f.ini:1: there is no section [trian]; did you mean [train]?");
  EXPECT_EQ(IniErrorOf("rank = 2\n"), "f.ini:1: rank is not an option; did you mean ranks?");
}

TEST(ParseTest, AbbreviationsAreNotOptions) {
  EXPECT_EQ(ErrorOf({"--train.step", "5"}),
            "--train.step is not an option; did you mean --train.steps?");
  EXPECT_EQ(ErrorOf({"-o", "x"}),
            "'-o' is not an option; write --NAME VALUE (see annulus train "
            "--help)");
}

TEST(ParseTest, RepeatedOptionsAreRefused) {
  EXPECT_EQ(ErrorOf({"--train.steps", "5", "--train.steps=6"}),
            "train.steps is given twice on the command line");
  EXPECT_EQ(IniErrorOf("[train]\nsteps=1\n[model]\n[train]\nsteps=1\n"),
            "f.ini:5: train.steps was already given in line 2");
}

TEST(ParseTest, MissingValuesAreNamed) {
  const std::string missing = "train.steps: the value is missing; write --train.steps STEPS";
  EXPECT_EQ(ErrorOf({"--train.steps"}), missing);
  EXPECT_EQ(ErrorOf({"--train.steps="}), missing);
  EXPECT_EQ(ErrorOf({"--train.steps", "--train.seed", "3"}), missing);
  EXPECT_EQ(ErrorOf({"--train.steps", "--no.such", "3"}), missing);
  EXPECT_EQ(ErrorOf({"--train.steps", ""}), "train.steps: the value is missing; write STEPS");
  EXPECT_EQ(IniErrorOf("[train]\nsteps =\n"),
            "f.ini:2: train.steps: the value is missing; write STEPS");
  EXPECT_EQ(Parse({"--data.path", ""}), RunConfig());
  EXPECT_EQ(ParseIniConfig("[data]\npath =\n", "f"), RunConfig());
}

TEST(ParseTest, MalformedValuesAreNamedWithTheirPlace) {
  EXPECT_EQ(ErrorOf({"--train.steps", "ten"}), "train.steps: 'ten' is not a whole number");
  EXPECT_EQ(ErrorOf({"--train.steps", "10x"}), "train.steps: '10x' is not a whole number");
  EXPECT_EQ(IniErrorOf("\n[train]\nsteps = ten\n"),
            "f.ini:3: train.steps: 'ten' is not a whole number");
  EXPECT_EQ(ErrorOf({"--optimizer.eps", "small"}), "optimizer.eps: 'small' is not a finite number");
  EXPECT_EQ(ErrorOf({"--model.tie_word_embeddings", "yes"}),
            "model.tie_word_embeddings: 'yes' is neither true nor false");
  EXPECT_EQ(ErrorOf({"--memory.budget_bytes", "lots"}),
            "memory.budget_bytes: 'lots' is not a number of bytes, as in 4096, 512M or 1.5G");
}

TEST(ParseTest, ValuesOutOfRangeNameTheRange) {
  EXPECT_EQ(ErrorOf({"--train.steps", "-1"}), "train.steps: -1 is out of range: 1 to 2147483648");
  EXPECT_EQ(ErrorOf({"--model.intermediate_size", "0"}),
            "model.intermediate_size: 0 is out of range: 1 to 16777216");
  EXPECT_EQ(ErrorOf({"--optimizer.learning_rate=0"}),
            "optimizer.learning_rate: 0 is out of range: above 0");
  EXPECT_EQ(ErrorOf({"--optimizer.weight_decay", "-0.1"}),
            "optimizer.weight_decay: -0.1 is out of range: 0 or more");
  EXPECT_EQ(ErrorOf({"--optimizer.beta1", "1"}),
            "optimizer.beta1: 1 is out of range: 0 or more and below 1");
  EXPECT_EQ(ErrorOf({"--memory.budget_bytes", "-1M"}),
            "memory.budget_bytes: -1M is out of range: 0 or more");
  EXPECT_EQ(ErrorOf({"--train.context_schedule", "512:0"}),
            "train.context_schedule: 0 is out of range: 1 to 2147483648");
}

TEST(ParseTest, UnknownNamesListTheValidOnes) {
  EXPECT_EQ(ErrorOf({"--parallel.partition", "zig"}),
            "parallel.partition: 'zig' is unknown; valid: zigzag, striped, contiguous");
  EXPECT_EQ(ErrorOf({"--model.dtype", "bf16"}),
            "model.dtype: bf16 is not in this version; valid: f32");
  EXPECT_EQ(ErrorOf({"--device.kind", "cuda"}), "device.kind: cuda is not built in; valid: cpu");
}

TEST(ParseTest, PartitionsAreNamedAsTheyNameThemselves) {
  for (auto kind : {parallel::PartitionKind::kContiguous, parallel::PartitionKind::kZigzag,
                    parallel::PartitionKind::kStriped}) {
    EXPECT_EQ(Parse({"--parallel.partition", std::string(NameOf(kind))}).parallel.partition, kind);
  }
}

TEST(ParseTest, StrayArgumentsAreRefused) {
  const std::string rest = " is not an option; write --NAME VALUE (see annulus train --help)";
  EXPECT_EQ(ErrorOf({"steps=5"}), "'steps=5'" + rest);
  EXPECT_EQ(ErrorOf({"--train.steps", "5", "6"}), "'6'" + rest);
  EXPECT_EQ(ErrorOf({"--", "x"}), "'x'" + rest);
}

TEST(ParseTest, OptionsOfOtherCommandsAreRefused) {
  const OptionSet info{"info", {"json"}};
  EXPECT_EQ(MessageOf([&] {
              ParseArguments(Arguments{"--train.steps", "5"}, info);
            }),
            "annulus info takes no --train.steps (see annulus info --help)");
  const IniFile file("[train]\nsteps=7\n");
  EXPECT_EQ(ParseArguments(Arguments{"--config", file.path()}, info).train.steps, 7);
}

TEST(ParseTest, OptionsOfOneCallBelongOnTheCommandLine) {
  EXPECT_EQ(IniErrorOf("json = a.json\n"),
            "f.ini:1: json belongs on the command line, as --json FILE");
  EXPECT_EQ(IniErrorOf("config = b.ini\n"),
            "f.ini:1: config belongs on the command line, as --config FILE");
}

TEST(ParseTest, AScheduleSetsStepsAndSequenceLength) {
  const TrainOptions train = Parse({"--train.context_schedule", "512:100,2048:20,8192:40"}).train;
  EXPECT_EQ(train.steps, 160);
  EXPECT_EQ(train.sequence_length, 8192);
  EXPECT_EQ(train.GlobalBatch(512), 16);
  EXPECT_EQ(train.MicroBatch(2048), 4);
  EXPECT_EQ(train.Phases(), train.context_schedule);
  EXPECT_EQ(TrainOptions().Phases(), (std::vector<ContextPhase>{{1024, 100}}));
}

TEST(ParseTest, AScheduleMustAgreeWithWhatElseIsGiven) {
  EXPECT_EQ(ErrorOf({"--train.context_schedule", "512:10", "--train.steps", "11"}),
            "train.steps = 11, but the sum of the steps of train.context_schedule is 10; leave one "
            "of them out");
  EXPECT_EQ(IniErrorOf("[train]\nsequence_length=1024\ncontext_schedule=512:10\n"),
            "train.sequence_length = 1024, but the last length of train.context_schedule is 512; "
            "leave one of them out");
  EXPECT_NO_THROW(Parse({"--train.context_schedule", "512:10", "--train.steps", "10"}));
  EXPECT_EQ(ErrorOf({"--train.context_schedule", "1:2147483648,2:1"}),
            "train.context_schedule: more than 2147483648 steps");
}

TEST(ParseTest, AScheduleOverridesWeakerSourcesOnly) {
  const IniFile file("[train]\nsteps=7\nsequence_length=64\n");
  const TrainOptions train =
      Parse({"--config", file.path(), "--train.context_schedule", "32:3,128:2"}).train;
  EXPECT_EQ(train.steps, 5);
  EXPECT_EQ(train.sequence_length, 128);
  const IniFile scheduled("[train]\ncontext_schedule=32:3,128:2\n");
  EXPECT_EQ(ErrorOf({"--config", scheduled.path(), "--train.steps", "9"}),
            "train.steps = 9, but the sum of the steps of train.context_schedule is 5; leave one "
            "of them out");
}

TEST(ParseTest, ResultsGoWhereOutputOrTheFileSays) {
  RunConfig config;
  EXPECT_EQ(OutputDirectory(config), "runs/default");
  config.config = "examples/long.recall.ini";
  EXPECT_EQ(OutputDirectory(config), "runs/long.recall");
  config.output = "elsewhere";
  EXPECT_EQ(OutputDirectory(config), "elsewhere");
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
