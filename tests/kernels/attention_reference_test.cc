// The reference's gradients against central differences of its own forward pass.
#include <gtest/gtest.h>

#include "tests/kernels/attention_fixture.h"

namespace annulus::kernels::cpu {
namespace {

double Loss(const AttentionCase& c) {
  const auto out = reference::AttentionForward<double>(c.inputs).out;
  double loss = 0;
  for (size_t i = 0; i < out.size(); ++i) loss += out[i] * c.dout[i];
  return loss;
}

void ExpectDifferences(AttentionCase& c, std::vector<float>& x, const std::vector<double>& dx) {
  constexpr float kStep = 0x1p-8f;
  for (size_t i = 0; i < x.size(); ++i) {
    const float at = x[i];
    x[i] = at + kStep;
    const double up = Loss(c), high = x[i];
    x[i] = at - kStep;
    const double down = Loss(c), low = x[i];
    x[i] = at;
    EXPECT_NEAR((up - down) / (high - low), dx[i], 1e-4);
  }
}

TEST(AttentionReferenceTest, GradientsAreDifferencesOfTheForwardPass) {
  for (MaskKind kind : AllMaskKinds()) {
    SCOPED_TRACE(NameOf(kind));
    Mask mask = MakeMask(kind, 8);
    mask.window = 3;
    mask.blocks.block_tokens = 2;
    AttentionProblem problem = MakeProblem(mask, Positions({2, 1, 7}), 3);
    problem.batch = 2;
    AttentionCase c = MakeCase(problem, {Positions({0, 2, 5})}, 31);
    const auto gradients = reference::AttentionBackward<double>(c.inputs, c.dout);
    ExpectDifferences(c, c.inputs.q, gradients.dq);
    ExpectDifferences(c, c.inputs.k, gradients.dk);
    ExpectDifferences(c, c.inputs.v, gradients.dv);
  }
}

}  // namespace
}  // namespace annulus::kernels::cpu
