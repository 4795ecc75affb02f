// Mistakes of a user who starts one process: each is told in one line, and leaves no files.
#include <gmock/gmock.h>

#include "tests/cli/annulus_command.h"

namespace annulus::runtime {
namespace {

using testing::AllOf;
using testing::AnyOf;
using testing::HasSubstr;
using testing::StartsWith;

class BadInput : public testing::Test {
 protected:
  // Trains the tiny model with more options, given last; what is wrong with them.
  std::string Complaint(const std::string& options, const Variables& variables = {}) {
    const Outcome outcome = RunAnnulus(Arguments{"train", "--output", output_} + TinyModel(options),
                                       {.variables = variables});
    EXPECT_FALSE(std::filesystem::exists(output_)) << "left files behind";
    return ComplaintOf(outcome);
  }

  TempDir dir_;
  std::string output_ = dir_.At("run");
};

// Without the synthetic data of the tiny model.
std::string ComplaintAboutData(const std::string& path, const std::string& output) {
  return ComplaintOf(RunAnnulus({"train", "--data.path", path, "--output", output}));
}

TEST_F(BadInput, UnknownCommandsAndOptionsNameTheNearest) {
  EXPECT_THAT(ComplaintOf(RunAnnulus({"trian"})), HasSubstr("'trian'; did you mean train?"));
  EXPECT_THAT(Complaint("--train.stpes 3"),
              HasSubstr("--train.stpes is not an option; did you mean --train.steps?"));
}

TEST_F(BadInput, MissingDataIsNamed) {
  const std::string path = dir_.At("nowhere");
  EXPECT_THAT(ComplaintAboutData(path, output_), HasSubstr(path));
  EXPECT_FALSE(std::filesystem::exists(output_));
}

TEST_F(BadInput, EmptyDataIsNamed) {
  const std::string path = dir_.Write("empty.txt", "");
  EXPECT_THAT(ComplaintAboutData(path, output_), HasSubstr(path));
  EXPECT_FALSE(std::filesystem::exists(output_));
}

TEST_F(BadInput, TooShortDataIsTold) {
  const std::string path = dir_.Write("short.txt", std::string(200, 'x'));
  EXPECT_THAT(ComplaintAboutData(path, output_),
              AllOf(HasSubstr(path), HasSubstr("180 bytes"), HasSubstr("1,025")));
  EXPECT_FALSE(std::filesystem::exists(output_));
}

TEST_F(BadInput, HeadsThatDoNotDivide) {
  EXPECT_THAT(Complaint("--model.num_key_value_heads 3"),
              AllOf(HasSubstr("num_key_value_heads = 3"), HasSubstr("choose 1 or 2")));
  EXPECT_THAT(Complaint("--model.num_attention_heads 5"),
              AllOf(HasSubstr("hidden_size = 16"), HasSubstr("choose 15 or 20")));
}

TEST_F(BadInput, RanksThatDoNotDivideOrAreTooMany) {
  EXPECT_THAT(Complaint("--ranks 4 --parallel.context_size 3"),
              AllOf(HasSubstr("context_size = 3"), HasSubstr("4 ranks"), HasSubstr("1, 2 or 4")));
  EXPECT_THAT(Complaint("--ranks 65"),
              AllOf(HasSubstr("context_size = 65"), HasSubstr("at most 64")));
}

TEST_F(BadInput, OutputThatCannotBeWritten) {
  const std::string file = dir_.Write("file", "taken");
  const std::string output = file + "/run";
  const Arguments arguments = Arguments{"train", "--output", output} + TinyModel();
  for (const char* ranks : {"1", "3"}) {
    EXPECT_THAT(ComplaintOf(RunAnnulus(arguments + Arguments{"--ranks", ranks})),
                AllOf(HasSubstr(output), HasSubstr("--output DIR")));
  }
  EXPECT_EQ(ReadFile(file), "taken");
}

TEST_F(BadInput, ABudgetIsRefusedBeforeMemoryIsTaken) {
  // Terabytes of activations: whoever took them first would fail in another way.
  const Outcome outcome = RunAnnulus(
      Words("train --data.synthetic recall --model.vocab_size 512 --model.hidden_size 4096 "
            "--model.num_attention_heads 32 --train.sequence_length 4194304 "
            "--memory.budget_bytes 1G --output ") +
      Arguments{output_});
  EXPECT_THAT(ComplaintOf(outcome),
              AllOf(HasSubstr("rank 0 would need"), HasSubstr("TiB"), HasSubstr("1.00 GiB")));
  EXPECT_LT(outcome.peak_resident_bytes, int64_t{400} << 20);
  EXPECT_FALSE(std::filesystem::exists(output_));
}

TEST_F(BadInput, AStepOfSrunWithoutPmiIsNotTrainedFourTimes) {
  for (const char* rank : {"0", "3"}) {
    const Outcome outcome =
        RunAnnulus(Arguments{"train", "--output", output_} + TinyModel(),
                   {.variables = {{"SLURM_STEP_NUM_TASKS", "4"}, {"SLURM_PROCID", rank}}});
    EXPECT_EQ(outcome.status, 2);
    EXPECT_FALSE(std::filesystem::exists(output_));
    if (std::string(rank) != "0") {
      EXPECT_EQ(outcome.err, "");  // one of them speaks for all
      continue;
    }
    EXPECT_THAT(ComplaintOf(outcome), AllOf(StartsWith("srun started 4 processes"),
                                            AnyOf(HasSubstr("--mpi=pmix"), HasSubstr("--mpi=pmi2"),
                                                  HasSubstr("-DANNULUS_MPI=ON"))));
  }
}

TEST_F(BadInput, MpiNeedsALauncher) {
  EXPECT_THAT(Complaint("--parallel.transport mpi"),
              AllOf(HasSubstr("parallel.transport = mpi"), HasSubstr("--ranks N")));
}

TEST_F(BadInput, ALineOfAFileIsNamedByItsNumber) {
  const std::string junk = dir_.Write("junk.ini", "[train]\nsteps = 3\nstpes 4\n");
  EXPECT_THAT(Complaint("--config " + junk), HasSubstr(junk + ":3: 'stpes 4'"));
  const std::string text = dir_.Write("text.ini", "[train]\nlog_every = often\n");
  EXPECT_THAT(Complaint("--config " + text), HasSubstr(text + ":2: train.log_every: 'often'"));
}

// Whether the build or the machine lacks it.
TEST_F(BadInput, AMissingDeviceIsNotReplacedSilently) {
  const Outcome outcome =
      RunAnnulus(Arguments{"train", "--output", output_} + TinyModel("--device.kind cuda"),
                 {.variables = {{"CUDA_VISIBLE_DEVICES", ""}}});
  EXPECT_THAT(ComplaintOf(outcome), AllOf(HasSubstr("CUDA"), HasSubstr("device.kind = cpu")));
  EXPECT_FALSE(std::filesystem::exists(output_));
}

}  // namespace
}  // namespace annulus::runtime
