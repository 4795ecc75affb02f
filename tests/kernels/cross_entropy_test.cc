#include "tests/kernels/every_device.h"
#include "tests/kernels/test_tensor.h"
#include "tests/reference/layer_reference.h"

namespace annulus::kernels::testing {
namespace {

template <class Real>
std::vector<Real> Scaled(std::vector<Real> values, float scale) {
  for (Real& value : values) value *= static_cast<Real>(scale);
  return values;
}

// The gradient of `logits` in T, in their own memory.
template <class T>
View GradientIn(TestTensor& logits) {
  View gradient = logits.view();
  gradient.dtype = DTypeOf<T>::value;
  gradient.stride[0] = gradient.stride[0] * SizeOf(DType::kF32) / SizeOf(gradient.dtype);
  return gradient;
}

// Its elements, widened.
template <class T>
std::vector<float> Elements(const View& matrix) {
  std::vector<float> elements;
  for (int64_t r = 0; r < matrix.dim(0); ++r) {
    const T* row = matrix.As<T>() + r * matrix.stride[0];
    for (int64_t i = 0; i < matrix.dim(1); ++i) elements.push_back(ToFloat(row[i]));
  }
  return elements;
}

template <class T>
void ExpectCrossEntropyMatchesReference() {
  constexpr float kScale = 0.125f;
  for (const auto [rows, vocabulary] : kExtents) {
    SCOPED_TRACE(fmt::format("{} x {} of {}", rows, vocabulary, NameOf(DTypeOf<T>::value)));
    TestTensor logits = TestTensor::Random({rows, vocabulary}, 1, 20);
    const std::vector<int32_t> labels = RandomTokens(rows, -2, static_cast<int32_t>(vocabulary), 2);
    const auto got = SameForAnyThreads([&](int threads) {
      TestTensor kept = logits, lost = logits, lost_again = logits;
      TestTensor loss({rows}), loss_again({rows}), loss_beside({rows});
      TensorOf<T> beside({rows, vocabulary});
      const View gradient = GradientIn<T>(lost);
      Table(threads).CrossEntropy({kept.view(), Tokens(labels), loss.view()});
      Table(threads).CrossEntropy(
          {lost.view(), Tokens(labels), loss_again.view(), gradient, kScale});
      Table(threads).CrossEntropy(
          {lost_again.view(), Tokens(labels), loss_beside.view(), beside.view(), kScale});
      return Results{loss.values(), loss_again.values(),  Elements<T>(gradient),
                     kept.values(), loss_beside.values(), Elements<T>(beside.view())};
    });
    const auto truth = reference::CrossEntropy<double>(logits.As<double>(), labels);
    const auto plain = reference::CrossEntropy<float>(logits.values(), labels);
    ExpectAsGoodAsPlain(got[0], truth.loss, plain.loss, "loss");
    ExpectSameBits(got[1], got[0], "loss with gradient");
    ExpectAsGoodAsPlain(got[2], Scaled(truth.gradient, kScale),
                        RoundedTo<T>(Scaled(plain.gradient, kScale)), "gradient");
    ExpectSameBits(got[3], logits.values(), "logits without gradient");
    ExpectSameBits(got[4], got[0], "loss with a gradient elsewhere");
    ExpectSameBits(got[5], got[2], "gradient elsewhere");
  }
}

class CrossEntropy : public EveryDevice {};

TEST_P(CrossEntropy, MatchesReference) {
  ExpectCrossEntropyMatchesReference<float>();
  ExpectCrossEntropyMatchesReference<BFloat16>();
}

TEST_P(CrossEntropy, RowWithoutTargetCostsNothing) {
  TestTensor logits = TestTensor::Random({2, 70}, 1), loss({2});
  const std::vector<int32_t> labels = {-1, -100};
  Table(1).CrossEntropy({logits.view(), Tokens(labels), loss.view(), logits.view()});
  EXPECT_EQ(loss.values(), (std::vector<float>{0, 0}));
  EXPECT_EQ(logits.values(), std::vector<float>(2 * 70, 0.0f));
}

// Equal logits: the loss is ln V whatever their size, and the gradient sums to zero.
TEST_P(CrossEntropy, IsStableForLargeLogits) {
  for (float level : {-3e38f, 0.0f, 3e38f}) {
    TestTensor logits({1, 64}), loss({1});
    std::fill(logits.values().begin(), logits.values().end(), level);
    const std::vector<int32_t> labels = {5};
    Table(1).CrossEntropy({logits.view(), Tokens(labels), loss.view(), logits.view()});
    EXPECT_NEAR(loss.values()[0], std::log(64.0), 1e-6);
    for (size_t i = 0; i < 64; ++i) EXPECT_EQ(logits.values()[i], i == 5 ? -63.0f / 64 : 1.0f / 64);
  }
}

// A broken run must not look sound.
TEST_P(CrossEntropy, KeepsNaN) {
  for (size_t broken : {size_t{0}, size_t{20}, size_t{69}}) {
    TestTensor logits = TestTensor::Random({1, 70}, 1), loss({1});
    logits.values()[broken] = std::nanf("");
    const std::vector<int32_t> labels = {5};
    Table(1).CrossEntropy({logits.view(), Tokens(labels), loss.view()});
    EXPECT_TRUE(std::isnan(loss.values()[0])) << broken;
  }
}

TEST_P(CrossEntropy, RefusesLabelsOutsideTheVocabulary) {
  TestTensor logits = TestTensor::Random({1, 7}, 1), loss({1});
  const std::vector<int32_t> labels = {7};
  EXPECT_THROW(Table(1).CrossEntropy({logits.view(), Tokens(labels), loss.view()}), InternalError);
}

ANNULUS_ON_EVERY_DEVICE(CrossEntropy);

}  // namespace
}  // namespace annulus::kernels::testing
