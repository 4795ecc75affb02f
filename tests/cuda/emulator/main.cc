// The main function of tests that run kernels on the emulator: a test that leaves reports untaken
// fails.
#include <gtest/gtest.h>

#include "tests/cuda/emulator/report.h"
#include "tests/cuda/emulator/streams.h"

namespace {

class FailOnReports : public testing::EmptyTestEventListener {
  void OnTestEnd(const testing::TestInfo&) override {
    for (const annulus::emulator::Report& report : annulus::emulator::TakeReports()) {
      ADD_FAILURE() << "emulator: " << NameOf(report.defect) << ": " << report.text;
    }
    annulus::emulator::ForgetErrors();
  }
};

}  // namespace

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  testing::TestEventListeners& listeners = testing::UnitTest::GetInstance()->listeners();
  // Before the printer, which is the first and hears of an end last.
  listeners.Append(new FailOnReports);
  return RUN_ALL_TESTS();
}
