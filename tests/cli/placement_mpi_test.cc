// What `info`, `check` and `train` say of how a launcher placed the ranks. Bindings are made by
// taskset, for launchers spell them differently.
#include <gmock/gmock.h>

#include "runtime/machine/machine.h"
#include "tests/cli/annulus_command.h"

namespace annulus::runtime {
namespace {

using testing::ContainsRegex;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// Two cores that this test may use; skips where there is but one.
class LaunchPlacement : public testing::Test {
 protected:
  void SetUp() override {
    const std::vector<int> cores = AffinityCores();
    if (cores.size() < 2) GTEST_SKIP() << "needs two cores";
    first_ = std::to_string(cores[0]);
    both_ = first_ + "," + std::to_string(cores[1]);
  }

  // A launcher that may use `cores`, of ranks that may use `bound`.
  static Launcher On(const std::string& cores, int ranks, const std::string& bound) {
    Launcher launcher = Mpirun(ranks);
    launcher.command =
        Words("taskset -c " + cores) + launcher.command + Words("taskset -c " + bound);
    return launcher;
  }

  nlohmann::json Info(const Launcher& launcher, const std::string& options = "") {
    const std::string file = dir_.At("info.json");
    const Outcome outcome =
        RunAnnulus(Arguments{"info", "--json", file} + Words(options), launcher);
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    return ReadJson(file);
  }
  std::vector<std::string> WarningsOf(const Launcher& launcher, const std::string& options = "") {
    return Info(launcher, options).at("warnings");
  }

  TempDir dir_;
  std::string first_, both_;
};

TEST_F(LaunchPlacement, RanksOfAHostAreCountedTogether) {
  const nlohmann::json info = Info(On(both_, 2, both_));
  EXPECT_THAT(info.at("warnings").get<std::vector<std::string>>(), IsEmpty());
  EXPECT_EQ(info.at("launch").at("ranks"), 2);
  EXPECT_EQ(info.at("launch").at("threads_per_rank"), 1);
  EXPECT_THAT(info.at("launch").at("ranks 0-1"), ContainsRegex(", cores [0-9,-]+, 1 thread each"));
}

TEST_F(LaunchPlacement, ThePinnedLearnWhatToLaunchWith) {
  EXPECT_THAT(WarningsOf(On(both_, 2, first_)),
              ElementsAre(ContainsRegex(": 2 ranks are pinned to the same core \\([0-9]+\\) of 2: "
                                        "launch with mpirun -+bind-to none or ")));
  EXPECT_THAT(WarningsOf(On(both_, 1, first_)),
              ElementsAre(HasSubstr(": 1 rank runs 1 thread on 1 of 2 cores, for mpirun")));
  EXPECT_THAT(
      WarningsOf(On(both_, 1, first_), "--device.threads 2"),
      ElementsAre(HasSubstr(": 1 rank is pinned to 1 core of 2, but device.threads = 2: ")));
  EXPECT_THAT(WarningsOf(On(both_, 1, first_), "--device.threads 1"), IsEmpty());
}

TEST_F(LaunchPlacement, MoreThanTheCoresIsTold) {
  EXPECT_THAT(WarningsOf(On(both_, 3, both_)), ElementsAre(HasSubstr(": 3 ranks share 2 cores: ")));
  EXPECT_THAT(WarningsOf(On(both_, 2, both_), "--device.threads 2"),
              ElementsAre(HasSubstr(": 2 ranks of 2 threads want 4 cores and have 2: set ")));
}

TEST_F(LaunchPlacement, TrainAndCheckWarnOnce) {
  const Launcher launcher = On(both_, 2, first_);
  const auto warnings = [](const std::string& text) {
    size_t count = 0;
    for (size_t at = text.find("warning: "); at != text.npos; at = text.find("warning: ", at + 1)) {
      ++count;
    }
    return count;
  };
  const Outcome train =
      RunAnnulus(Arguments{"train", "--output", dir_.At("run")} + TinyModel(), launcher);
  EXPECT_EQ(train.status, 0) << train.err;
  EXPECT_THAT(train.out, HasSubstr(": 2 ranks are pinned to the same core"));
  EXPECT_EQ(warnings(train.out), 1u);
  const Outcome check = RunAnnulus(Arguments{"check"} + TinyModel(), launcher);
  EXPECT_EQ(check.status, 0) << check.err;
  EXPECT_THAT(check.err, HasSubstr(": 2 ranks are pinned to the same core"));
  EXPECT_EQ(warnings(check.err), 1u);
}

// Every process would believe it is alone; the report says so and is made all the same.
TEST_F(LaunchPlacement, InfoTellsOfALauncherThatIsNotMpis) {
  const std::vector<std::string> warnings =
      WarningsOf({{}, {{"SLURM_STEP_NUM_TASKS", "2"}, {"SLURM_PROCID", "0"}}});
  ASSERT_FALSE(warnings.empty());
  EXPECT_THAT(warnings.front(), HasSubstr("srun started 2 processes, but "));
}

}  // namespace
}  // namespace annulus::runtime
