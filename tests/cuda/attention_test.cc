// Fused attention on a CUDA device against the float64 reference: masks, head sizes, partitions,
// head groups, lengths. Sizes are small and odd: a device that is emulated has to get through.
#include <gtest/gtest.h>

#include <tuple>

#include "tests/cuda/attention_device.h"

namespace annulus::kernels::cuda {
namespace {

constexpr int kAmpere = 80;

class MaskAndHeadTest : public testing::TestWithParam<std::tuple<DType, MaskKind, int>> {};

TEST_P(MaskAndHeadTest, OneBlock) {
  const auto [dtype, kind, head_dim] = GetParam();
  const Positions tokens({0, 1, 133});
  AttentionProblem problem = MakeProblem(MakeMask(kind, 133), tokens, head_dim);
  problem.dtype = dtype;
  ExpectAccurateOnDevice(MakeCase(problem, {tokens}, 11), kAmpere);
}

INSTANTIATE_TEST_SUITE_P(All, MaskAndHeadTest,
                         testing::Combine(testing::Values(DType::kF32, DType::kBF16),
                                          testing::ValuesIn(AllMaskKinds()),
                                          testing::Values(17, 64, 80, 128)),
                         [](const auto& test) {
                           return std::string(NameOf(std::get<0>(test.param))) + "_" +
                                  TestName(std::get<1>(test.param)) + "_D" +
                                  std::to_string(std::get<2>(test.param));
                         });

}  // namespace
}  // namespace annulus::kernels::cuda
