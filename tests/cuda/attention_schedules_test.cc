// Fused attention under schedules of the emulator: whoever runs first and whenever copies and
// products take effect, it is the same bits.
#include <gtest/gtest.h>

#include <optional>

#include "tests/cuda/attention_device.h"
#include "tests/cuda/emulator/options.h"

namespace annulus::kernels::cuda {
namespace {

class AttentionSchedulesTest : public testing::TestWithParam<AttentionKind> {};

TEST_P(AttentionSchedulesTest, SameBits) {
  const Positions tokens({0, 1, 133});
  AttentionProblem problem =
      MakeProblem(MakeMask(MaskKind::kCausal, 133), tokens, GetParam().head_dim);
  problem.dtype = GetParam().dtype;
  const AttentionCase c = MakeCase(problem, {tokens.Slice(100, 33), tokens.Slice(0, 100)}, 28);
  std::optional<AttentionResult> first;
  emulator::ForEachSchedule(3, [&](const std::string& schedule) {
    SCOPED_TRACE(schedule);
    const AttentionResult result = RunOnDevice(c, GetParam().capability());
    if (!first.has_value()) first = result;
    ExpectSameBits(*first, result);
  });
  AttentionTruth(c).Expect(*first);
}

INSTANTIATE_TEST_SUITE_P(All, AttentionSchedulesTest, testing::ValuesIn(kEveryAttention),
                         [](const auto& test) { return test.param.name(); });

}  // namespace
}  // namespace annulus::kernels::cuda
