// Mistakes met by several processes: told once, by all of them ending.
#include <gmock/gmock.h>

#include "tests/cli/annulus_command.h"

namespace annulus::runtime {
namespace {

using testing::AllOf;
using testing::HasSubstr;

TEST(BadLaunch, AnUnknownOptionIsToldOnce) {
  EXPECT_THAT(ComplaintOf(RunAnnulus(Words("train --train.stpes 3"), Mpirun(3))),
              HasSubstr("--train.stpes is not an option; did you mean --train.steps?"));
}

TEST(BadLaunch, AnOutputThatRankZeroCannotWriteEndsAll) {
  const TempDir dir;
  const std::string output = dir.Write("file", "taken") + "/run";
  EXPECT_THAT(
      ComplaintOf(RunAnnulus(Arguments{"train", "--output", output} + TinyModel(), Mpirun(3))),
      HasSubstr(output));
}

TEST(BadLaunch, RanksWithDifferentConfigurationsNameTheOption) {
  const TempDir dir;
  const std::string output = dir.At("run");
  const Arguments train =
      Arguments{"--output", output} + TinyModel() + Words("--optimizer.learning_rate");
  const Arguments first = Mpirun(1).command + Arguments{ANNULUS_PROGRAM, "train"} + train;
  const Arguments second = Arguments{":", ANNULUS_MPIEXEC_NUMPROC_FLAG, "1", ANNULUS_PROGRAM} +
                           Arguments{"train"} + train;
  const Outcome outcome = RunCommandLine(first + Words("0.001") + second + Words("0.5"), {});
  EXPECT_THAT(ComplaintOf(outcome), AllOf(HasSubstr("optimizer.learning_rate"),
                                          HasSubstr("'0.001'"), HasSubstr("'0.5'")));
  EXPECT_FALSE(std::filesystem::exists(output));
}

TEST(BadLaunch, RanksThatContradictTheLauncher) {
  const TempDir dir;
  const std::string output = dir.At("run");
  const Arguments arguments = Arguments{"train", "--output", output} + TinyModel();
  EXPECT_THAT(ComplaintOf(RunAnnulus(arguments + Words("--ranks 3"), Mpirun(2))),
              AllOf(HasSubstr("ranks = 3"), HasSubstr("started 2 processes")));
  EXPECT_THAT(ComplaintOf(RunAnnulus(arguments + Words("--parallel.transport threads"), Mpirun(2))),
              HasSubstr("parallel.transport = threads"));
  EXPECT_FALSE(std::filesystem::exists(output));
}

}  // namespace
}  // namespace annulus::runtime
