#include "kernels/cpu/elementwise.h"
#include "tests/kernels/test_tensor.h"
#include "tests/reference/layer_reference.h"

namespace annulus::kernels::testing {
namespace {

constexpr float kEps = 1e-5f;

TEST(RmsNorm, MatchesReference) {
  for (const auto [rows, hidden] : kExtents) {
    SCOPED_TRACE(fmt::format("{} x {}", rows, hidden));
    TestTensor x = TestTensor::Random({rows, hidden}, 1);
    TestTensor weight = TestTensor::Random({hidden}, 2);
    const auto got = SameForAnyThreads([&](int threads) {
      TestTensor y({rows, hidden}), rstd({rows});
      cpu::RmsNorm({x.view(), weight.view(), kEps, y.view(), rstd.view()}, threads);
      return Results{y.values(), rstd.values()};
    });
    const auto truth = reference::RmsNorm<double>(x.As<double>(), weight.As<double>(), kEps);
    const auto plain = reference::RmsNorm<float>(x.values(), weight.values(), kEps);
    ExpectAsGoodAsPlain(got[0], truth.y, plain.y, "y");
    ExpectAsGoodAsPlain(got[1], truth.rstd, plain.rstd, "rstd");
  }
}

TEST(RmsNorm, RowOfZerosIsZero) {
  TestTensor x({1, 5}), weight = TestTensor::Random({5}, 2), y({1, 5}), rstd({1});
  std::fill(x.values().begin(), x.values().end(), 0.0f);
  cpu::RmsNorm({x.view(), weight.view(), kEps, y.view(), rstd.view()}, 1);
  for (float value : y.values()) EXPECT_EQ(value, 0.0f);
}

// What a kernel adds to: the truth and the plain result start from the same numbers.
template <class Real>
std::vector<Real> Sum(const TestTensor& before, const std::vector<Real>& change) {
  std::vector<Real> sum = before.As<Real>();
  for (size_t i = 0; i < sum.size(); ++i) sum[i] += change[i];
  return sum;
}

TEST(RmsNormBackward, MatchesReferenceAndAccumulates) {
  for (const auto [rows, hidden] : kExtents) {
    SCOPED_TRACE(fmt::format("{} x {}", rows, hidden));
    TestTensor x = TestTensor::Random({rows, hidden}, 1);
    TestTensor weight = TestTensor::Random({hidden}, 2);
    TestTensor dy = TestTensor::Random({rows, hidden}, 3);
    const TestTensor dx_before = TestTensor::Random({rows, hidden}, 4);
    const TestTensor dweight_before = TestTensor::Random({hidden}, 5);
    TestTensor y({rows, hidden}), rstd({rows});
    cpu::RmsNorm({x.view(), weight.view(), kEps, y.view(), rstd.view()}, 1);
    const auto got = SameForAnyThreads([&](int threads) {
      TestTensor dx = dx_before, dweight = dweight_before;
      const RmsNormBackwardArgs args{dy.view(),   x.view(),  weight.view(),
                                     rstd.view(), dx.view(), dweight.view()};
      TestTensor scratch({cpu::RmsNormBackwardScratchBytes(args) / 4});
      cpu::RmsNormBackward(args, scratch.view(), threads);
      return Results{dx.values(), dweight.values()};
    });
    const auto truth = reference::RmsNormBackward<double>(dy.As<double>(), x.As<double>(),
                                                          weight.As<double>(), kEps);
    const auto plain =
        reference::RmsNormBackward<float>(dy.values(), x.values(), weight.values(), kEps);
    ExpectAsGoodAsPlain(got[0], Sum(dx_before, truth.dx), Sum(dx_before, plain.dx), "dx");
    ExpectAsGoodAsPlain(got[1], Sum(dweight_before, truth.dweight),
                        Sum(dweight_before, plain.dweight), "dweight");
  }
}

// A long context must not make the partial sums of dweight grow with it.
TEST(RmsNormBackward, ScratchIsBounded) {
  const auto scratch_bytes = [](int64_t rows) {
    RmsNormBackwardArgs args;
    args.x = ConstView(nullptr, DType::kF32, {rows, 4096});
    return cpu::RmsNormBackwardScratchBytes(args);
  };
  EXPECT_EQ(scratch_bytes(0), 0);
  EXPECT_EQ(scratch_bytes(1), 4096 * 4);
  EXPECT_EQ(scratch_bytes(1 << 20), 64 * 4096 * 4);
}

}  // namespace
}  // namespace annulus::kernels::testing
