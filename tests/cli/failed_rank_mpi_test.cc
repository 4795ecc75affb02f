// A rank that dies or stops in the middle of a run takes the job with it, soon and audibly.
#include <gmock/gmock.h>
#include <signal.h>

#include <thread>

#include "tests/cli/annulus_command.h"

namespace annulus::runtime {
namespace {

using std::chrono::milliseconds;
using testing::AnyOf;
using testing::HasSubstr;

constexpr milliseconds kSoon = std::chrono::seconds(10);

// Three ranks that would train for hours.
class FailedRank : public testing::Test {
 protected:
  // Starts the job and returns once all ranks have trained a step.
  void StartJob() {
    const Arguments train =
        Arguments{ANNULUS_PROGRAM, "train", "--output", dir_.At("run")} +
        TinyModel("--train.steps 100000000 --train.log_every 1000000 --parallel.timeout_s 2");
    job_.emplace(Mpirun(3).command + train, CommonVariables());
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    const auto trains = [&] { return !ReadFile(dir_.path() / "run/metrics.jsonl").empty(); };
    while (!trains() && std::chrono::steady_clock::now() < deadline) {
      std::this_thread::sleep_for(milliseconds(10));
    }
    ASSERT_TRUE(trains()) << "no step within half a minute";
  }

  pid_t ProcessOf(const std::string& rank) const {
    for (const pid_t process : DescendantsCalled(job_->pid(), "annulus")) {
      for (const char* name : {"OMPI_COMM_WORLD_RANK", "PMI_RANK"}) {
        if (VariableOf(process, name) == rank) return process;
      }
    }
    return 0;
  }

  TempDir dir_;
  std::optional<Process> job_;
};

TEST_F(FailedRank, AKilledRankEndsTheJob) {
  StartJob();
  const pid_t victim = ProcessOf("1");
  ASSERT_GT(victim, 0);
  ASSERT_EQ(kill(victim, SIGKILL), 0);
  const std::optional<Outcome> outcome = job_->Wait(kSoon);
  ASSERT_TRUE(outcome.has_value()) << "the job goes on without a rank";
  EXPECT_NE(outcome->status, 0);
  EXPECT_THAT(outcome->err + outcome->out,
              AnyOf(HasSubstr("rank 1"), HasSubstr(std::to_string(victim))));
}

TEST_F(FailedRank, AStoppedRankIsGivenUpAtTheDeadline) {
  StartJob();
  const pid_t victim = ProcessOf("1");
  ASSERT_GT(victim, 0);
  ASSERT_EQ(kill(victim, SIGSTOP), 0);
  const std::optional<Outcome> outcome = job_->Wait(kSoon);
  kill(victim, SIGKILL);  // a launcher may have left it behind
  ASSERT_TRUE(outcome.has_value()) << "the job waits for ever";
  EXPECT_NE(outcome->status, 0);
  // Which rank, in which call, for which peer, for how long.
  EXPECT_THAT(outcome->err,
              testing::ContainsRegex("annulus: error: rank [02]: [a-z -]+ over MPI .*: nothing "
                                     "(came from|was taken by) ranks? .*1.* within 2 s"));
}

}  // namespace
}  // namespace annulus::runtime
