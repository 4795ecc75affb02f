#include "tests/kernels/every_device.h"
#include "tests/kernels/test_tensor.h"
#include "tests/reference/layer_reference.h"

namespace annulus::kernels::testing {
namespace {

constexpr float kEps = 1e-5f;

template <class T>
void ExpectRmsNormMatchesReference() {
  for (const auto [rows, hidden] : kExtents) {
    SCOPED_TRACE(fmt::format("{} x {} of {}", rows, hidden, NameOf(DTypeOf<T>::value)));
    auto x = TensorOf<T>::Random({rows, hidden}, 1);
    auto weight = TensorOf<T>::Random({hidden}, 2);
    const auto got = SameForAnyThreads([&](int threads) {
      TensorOf<T> y({rows, hidden});
      TestTensor rstd({rows});
      Table(threads).RmsNorm({x.view(), weight.view(), kEps, y.view(), rstd.view()});
      return Results{y.template As<float>(), rstd.values()};
    });
    const auto truth =
        reference::RmsNorm<double>(x.template As<double>(), weight.template As<double>(), kEps);
    const auto plain =
        reference::RmsNorm<float>(x.template As<float>(), weight.template As<float>(), kEps);
    ExpectAsGoodAsPlain(got[0], truth.y, RoundedTo<T>(plain.y), "y");
    ExpectAsGoodAsPlain(got[1], truth.rstd, plain.rstd, "rstd");
  }
}

class RmsNorm : public EveryDevice {};

TEST_P(RmsNorm, MatchesReference) {
  ExpectRmsNormMatchesReference<float>();
  ExpectRmsNormMatchesReference<BFloat16>();
}

TEST_P(RmsNorm, RowOfZerosIsZero) {
  TestTensor x({1, 5}), weight = TestTensor::Random({5}, 2), y({1, 5}), rstd({1});
  std::fill(x.values().begin(), x.values().end(), 0.0f);
  Table(1).RmsNorm({x.view(), weight.view(), kEps, y.view(), rstd.view()});
  for (float value : y.values()) EXPECT_EQ(value, 0.0f);
}

// What a kernel adds to: the truth and the plain result start from the same numbers.
template <class T, class Real>
std::vector<Real> Sum(const TensorOf<T>& before, const std::vector<Real>& change) {
  std::vector<Real> sum = before.template As<Real>();
  for (size_t i = 0; i < sum.size(); ++i) sum[i] += change[i];
  return sum;
}

template <class T>
void ExpectRmsNormBackwardMatchesReference() {
  for (const auto [rows, hidden] : kExtents) {
    SCOPED_TRACE(fmt::format("{} x {} of {}", rows, hidden, NameOf(DTypeOf<T>::value)));
    auto x = TensorOf<T>::Random({rows, hidden}, 1);
    auto weight = TensorOf<T>::Random({hidden}, 2);
    auto dy = TensorOf<T>::Random({rows, hidden}, 3);
    const auto dx_before = TensorOf<T>::Random({rows, hidden}, 4);
    const TestTensor dweight_before = TestTensor::Random({hidden}, 5);
    TensorOf<T> y({rows, hidden});
    TestTensor rstd({rows});
    Table(1).RmsNorm({x.view(), weight.view(), kEps, y.view(), rstd.view()});
    const auto got = SameForAnyThreads([&](int threads) {
      TensorOf<T> dx = dx_before;
      TestTensor dweight = dweight_before;
      const RmsNormBackwardArgs args{dy.view(),   x.view(),  weight.view(),
                                     rstd.view(), dx.view(), dweight.view()};
      TestTensor scratch({Table(1).RmsNormBackwardScratchBytes(args) / 4});
      Table(threads).RmsNormBackward(args, scratch.view());
      return Results{dx.template As<float>(), dweight.values()};
    });
    const auto truth = reference::RmsNormBackward<double>(
        dy.template As<double>(), x.template As<double>(), weight.template As<double>(), kEps);
    const auto plain = reference::RmsNormBackward<float>(
        dy.template As<float>(), x.template As<float>(), weight.template As<float>(), kEps);
    ExpectAsGoodAsPlain(got[0], Sum(dx_before, truth.dx), RoundedTo<T>(Sum(dx_before, plain.dx)),
                        "dx");
    ExpectAsGoodAsPlain(got[1], Sum(dweight_before, truth.dweight),
                        Sum(dweight_before, plain.dweight), "dweight");
  }
}

class RmsNormBackward : public EveryDevice {};

TEST_P(RmsNormBackward, MatchesReferenceAndAccumulates) {
  ExpectRmsNormBackwardMatchesReference<float>();
  ExpectRmsNormBackwardMatchesReference<BFloat16>();
}

ANNULUS_ON_EVERY_DEVICE(RmsNorm);
ANNULUS_ON_EVERY_DEVICE(RmsNormBackward);

}  // namespace
}  // namespace annulus::kernels::testing
