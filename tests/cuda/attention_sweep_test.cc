// Fused attention on a CUDA device over everything at once, on other numbers at every run: dtype x
// mask x head size x kernels, each with lengths, head groups, partition, folding order and mask
// drawn at random.
#include <gtest/gtest.h>

#include <tuple>

#include "tests/cuda/attention_device.h"
#include "tests/kernels/attention_draw.h"

namespace annulus::kernels::cuda {
namespace {

class AttentionSweep : public testing::TestWithParam<std::tuple<DType, MaskKind, int>> {
 public:
  static DrawSpec SpecOf(const ParamType& param) {
    const auto [dtype, kind, head_dim] = param;
    return {dtype, kind, head_dim, 100 + 6400 / head_dim};
  }
};

TEST_P(AttentionSweep, IsAccurate) {
  const DrawSpec spec = SpecOf(GetParam());
  Draw draw = DrawOf(spec);
  const DrawnCase drawn = DrawCase(spec, draw);
  SCOPED_TRACE(drawn.description);
  ExpectAccurateOnDevice(drawn.attention, draw.OneOf({80, 90}),
                         {.norm = Norm::kRootMeanSquare, .terms = Tolerance().floor});
}

INSTANTIATE_TEST_SUITE_P(All, AttentionSweep,
                         testing::Combine(testing::Values(DType::kF32, DType::kBF16),
                                          testing::ValuesIn(AllMaskKinds()),
                                          testing::Values(33, 64, 96, 128, 160)),
                         [](const auto& test) {
                           return AttentionSweep::SpecOf(test.param).name();
                         });

}  // namespace
}  // namespace annulus::kernels::cuda
