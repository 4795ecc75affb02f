#include "kernels/cpu/elementwise.h"
#include "tests/kernels/test_tensor.h"
#include "tests/reference/layer_reference.h"

namespace annulus::kernels::testing {
namespace {

template <class Real>
std::vector<Real> Scaled(std::vector<Real> values, float scale) {
  for (Real& value : values) value *= static_cast<Real>(scale);
  return values;
}

TEST(CrossEntropy, MatchesReference) {
  constexpr float kScale = 0.125f;
  for (const auto [rows, vocabulary] : kExtents) {
    SCOPED_TRACE(fmt::format("{} x {}", rows, vocabulary));
    TestTensor logits = TestTensor::Random({rows, vocabulary}, 1, 20);
    const std::vector<int32_t> labels = RandomTokens(rows, -2, static_cast<int32_t>(vocabulary), 2);
    const auto got = SameForAnyThreads([&](int threads) {
      TestTensor kept = logits, gradient = logits, loss({rows}), loss_again({rows});
      cpu::CrossEntropy({kept.view(), Tokens(labels), loss.view()}, threads);
      cpu::CrossEntropy({gradient.view(), Tokens(labels), loss_again.view(), kScale}, threads);
      return Results{loss.values(), loss_again.values(), gradient.values(), kept.values()};
    });
    const auto truth = reference::CrossEntropy<double>(logits.As<double>(), labels);
    const auto plain = reference::CrossEntropy<float>(logits.values(), labels);
    ExpectAsGoodAsPlain(got[0], truth.loss, plain.loss, "loss");
    ExpectSameBits(got[1], got[0], "loss with gradient");
    ExpectAsGoodAsPlain(got[2], Scaled(truth.gradient, kScale), Scaled(plain.gradient, kScale),
                        "gradient");
    ExpectSameBits(got[3], logits.values(), "logits without gradient");
  }
}

TEST(CrossEntropy, RowWithoutTargetCostsNothing) {
  TestTensor logits = TestTensor::Random({2, 70}, 1), loss({2});
  const std::vector<int32_t> labels = {-1, -100};
  cpu::CrossEntropy({logits.view(), Tokens(labels), loss.view(), 1.0f}, 1);
  EXPECT_EQ(loss.values(), (std::vector<float>{0, 0}));
  EXPECT_EQ(logits.values(), std::vector<float>(2 * 70, 0.0f));
}

// Equal logits: the loss is ln V whatever their size, and the gradient sums to zero.
TEST(CrossEntropy, IsStableForLargeLogits) {
  for (float level : {-3e38f, 0.0f, 3e38f}) {
    TestTensor logits({1, 64}), loss({1});
    std::fill(logits.values().begin(), logits.values().end(), level);
    const std::vector<int32_t> labels = {5};
    cpu::CrossEntropy({logits.view(), Tokens(labels), loss.view(), 1.0f}, 1);
    EXPECT_NEAR(loss.values()[0], std::log(64.0), 1e-6);
    for (size_t i = 0; i < 64; ++i) EXPECT_EQ(logits.values()[i], i == 5 ? -63.0f / 64 : 1.0f / 64);
  }
}

// A broken run must not look sound.
TEST(CrossEntropy, KeepsNaN) {
  for (size_t broken : {size_t{0}, size_t{20}, size_t{69}}) {
    TestTensor logits = TestTensor::Random({1, 70}, 1), loss({1});
    logits.values()[broken] = std::nanf("");
    const std::vector<int32_t> labels = {5};
    cpu::CrossEntropy({logits.view(), Tokens(labels), loss.view()}, 1);
    EXPECT_TRUE(std::isnan(loss.values()[0])) << broken;
  }
}

TEST(CrossEntropy, RefusesLabelsOutsideTheVocabulary) {
  TestTensor logits = TestTensor::Random({1, 7}, 1), loss({1});
  const std::vector<int32_t> labels = {7};
  EXPECT_THROW(cpu::CrossEntropy({logits.view(), Tokens(labels), loss.view()}, 1), InternalError);
}

}  // namespace
}  // namespace annulus::kernels::testing
