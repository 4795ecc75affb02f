// Runs attention on the emulator and succeeds if something is wrong with it: planted defects are
// linked in place of kernels.
//
// caught_test mma|hopper|generic REGEX: what is found wrong has to match.
#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <regex>
#include <string>

#include "tests/cuda/attention_device.h"
#include "tests/cuda/emulator/report.h"

namespace annulus::kernels::cuda {
namespace {

AttentionKind KindOf(const std::string& kernels) {
  if (kernels == "generic") return {AttentionKernels::kGeneric, DType::kF32, 20, 64};
  if (kernels == "mma") return {AttentionKernels::kMma, DType::kBF16, 64, 64};
  return {AttentionKernels::kHopper, DType::kBF16, 128, 128};
}

// Two sequences where that is not too slow, three tiles of keys and more, two folds, rows and
// columns that do not fill tiles; the second fold has no keys for the first tile of queries.
AttentionCase MakeDefectCase(const AttentionKind& kind) {
  const int64_t length = 3 * 128 + 11;
  AttentionProblem problem = MakeProblem(MakeMask(MaskKind::kCausal, length - 3),
                                         Positions({0, 1, length}), kind.head_dim);
  problem.dtype = kind.dtype;
  problem.batch = kind.kernels == AttentionKernels::kMma ? 2 : 1;
  return MakeCase(problem, {Positions({0, 1, 280}), Positions({280, 1, length - 280})}, 41);
}

std::string WhatIsWrong(const AttentionKind& kind) {
  std::string wrong;
  const AttentionCase c = MakeDefectCase(kind);
  try {
    testing::TestPartResultArray failures;
    {
      testing::ScopedFakeTestPartResultReporter intercept(
          testing::ScopedFakeTestPartResultReporter::INTERCEPT_ONLY_CURRENT_THREAD, &failures);
      AttentionTruth(c).Expect(RunOnDevice(c, kind.capability()));
    }
    if (failures.size() > 0) wrong += "wrong results\n";
  } catch (const std::exception& error) {
    wrong += std::string(error.what()) + "\n";
  }
  for (const emulator::Report& report : emulator::TakeReports()) {
    wrong += std::string(NameOf(report.defect)) + ": " + report.text + "\n";
  }
  return wrong;
}

}  // namespace
}  // namespace annulus::kernels::cuda

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  if (argc != 3) return 2;
  const std::string wrong =
      annulus::kernels::cuda::WhatIsWrong(annulus::kernels::cuda::KindOf(argv[1]));
  std::printf("%s", wrong.empty() ? "nothing is wrong\n" : wrong.c_str());
  std::fflush(stdout);
  // Threads of a kernel that was given up are not unwound.
  std::_Exit(std::regex_search(wrong, std::regex(argv[2])) ? 0 : 1);
}
