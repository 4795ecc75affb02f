// Fused attention over everything at once, on other numbers at every run: dtype x mask x head size,
// each with lengths, head groups, partition, folding order, mask and cache sizes drawn at random.
#include <gtest/gtest.h>

#include <tuple>

#include "tests/kernels/attention_draw.h"
#include "tests/kernels/attention_fixture.h"

namespace annulus::kernels::cpu {
namespace {

class AttentionSweep : public testing::TestWithParam<std::tuple<DType, MaskKind, int>> {
 public:
  static DrawSpec SpecOf(const ParamType& param) {
    const auto [dtype, kind, head_dim] = param;
    return {dtype, kind, head_dim, 50 + 3200 / head_dim};
  }
};

// A query with a single key has dq = 0, which cancellation leaves as a few roundings of its terms.
TEST_P(AttentionSweep, IsAccurate) {
  const DrawSpec spec = SpecOf(GetParam());
  Draw draw = DrawOf(spec);
  const DrawnCase drawn = DrawCase(spec, draw);
  SCOPED_TRACE(drawn.description);
  const CacheSizes caches{draw.OneOf<int64_t>({1, 48}) << 10, draw.OneOf<int64_t>({1, 2048}) << 10};
  ExpectAccurate(drawn.attention, {.norm = Norm::kRootMeanSquare, .terms = Tolerance().floor},
                 caches);
}

INSTANTIATE_TEST_SUITE_P(All, AttentionSweep,
                         testing::Combine(testing::Values(DType::kF32, DType::kBF16),
                                          testing::ValuesIn(AllMaskKinds()),
                                          testing::Values(32, 40, 64, 80, 96, 128, 256)),
                         [](const auto& test) {
                           return AttentionSweep::SpecOf(test.param).name();
                         });

}  // namespace
}  // namespace annulus::kernels::cpu
