#include "runtime/config/parse.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "tests/runtime/all_options.h"
#include "tests/runtime/message_of.h"

namespace annulus::runtime {
namespace {

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
  EXPECT_EQ(ErrorOf({"--optimizer.eps", "1e-40"}),
            "optimizer.eps: 1e-40 is out of range: 1e-30 or more");
  EXPECT_EQ(ErrorOf({"--parallel.timeout_s", "1e10"}),
            "parallel.timeout_s: 1e10 is out of range: above 0 and below 1000000000");
  EXPECT_EQ(ErrorOf({"--memory.budget_bytes", "-1M"}),
            "memory.budget_bytes: -1M is out of range: 0 or more");
  EXPECT_EQ(ErrorOf({"--train.context_schedule", "512:0"}),
            "train.context_schedule: 0 is out of range: 1 to 2147483648");
}

TEST(ParseTest, UnknownNamesListTheValidOnes) {
  EXPECT_EQ(ErrorOf({"--parallel.partition", "zig"}),
            "parallel.partition: 'zig' is unknown; valid: zigzag, striped, contiguous");
  EXPECT_EQ(ErrorOf({"--model.dtype", "f16"}), "model.dtype: 'f16' is unknown; valid: f32, bf16");
  EXPECT_EQ(ErrorOf({"--device.kind", "gpu"}), "device.kind: 'gpu' is unknown; valid: cpu, cuda");
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

}  // namespace
}  // namespace annulus::runtime
