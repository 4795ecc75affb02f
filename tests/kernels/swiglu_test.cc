#include "kernels/cpu/elementwise.h"
#include "tests/kernels/test_tensor.h"
#include "tests/reference/layer_reference.h"

namespace annulus::kernels::testing {
namespace {

TEST(SwiGlu, MatchesReference) {
  for (const auto [rows, width] : kExtents) {
    SCOPED_TRACE(fmt::format("{} x {}", rows, width));
    TestTensor gate = TestTensor::Random({rows, width}, 1, 10);
    TestTensor up = TestTensor::Random({rows, width}, 2);
    const auto got = SameForAnyThreads([&](int threads) {
      TestTensor y({rows, width}), over_gate = gate, over_up = up;
      cpu::SwiGlu({gate.view(), up.view(), y.view()}, threads);
      cpu::SwiGlu({over_gate.view(), up.view(), over_gate.view()}, threads);
      cpu::SwiGlu({gate.view(), over_up.view(), over_up.view()}, threads);
      return Results{y.values(), over_gate.values(), over_up.values()};
    });
    ExpectAsGoodAsPlain(got[0], reference::SwiGlu<double>(gate.As<double>(), up.As<double>()),
                        reference::SwiGlu<float>(gate.values(), up.values()), "y");
    ExpectSameBits(got[1], got[0], "y over gate");
    ExpectSameBits(got[2], got[0], "y over up");
  }
}

TEST(SwiGluBackward, MatchesReference) {
  for (const auto [rows, width] : kExtents) {
    SCOPED_TRACE(fmt::format("{} x {}", rows, width));
    TestTensor dy = TestTensor::Random({rows, width}, 1);
    TestTensor gate = TestTensor::Random({rows, width}, 2, 10);
    TestTensor up = TestTensor::Random({rows, width}, 3);
    const auto got = SameForAnyThreads([&](int threads) {
      TestTensor dgate({rows, width}), dup({rows, width}), over_gate = gate, over_up = up;
      cpu::SwiGluBackward({dy.view(), gate.view(), up.view(), dgate.view(), dup.view()}, threads);
      cpu::SwiGluBackward(
          {dy.view(), over_gate.view(), over_up.view(), over_gate.view(), over_up.view()}, threads);
      return Results{dgate.values(), dup.values(), over_gate.values(), over_up.values()};
    });
    const auto truth =
        reference::SwiGluBackward<double>(dy.As<double>(), gate.As<double>(), up.As<double>());
    const auto plain = reference::SwiGluBackward<float>(dy.values(), gate.values(), up.values());
    ExpectAsGoodAsPlain(got[0], truth.dgate, plain.dgate, "dgate");
    ExpectAsGoodAsPlain(got[1], truth.dup, plain.dup, "dup");
    ExpectSameBits(got[2], got[0], "dgate over gate");
    ExpectSameBits(got[3], got[1], "dup over up");
  }
}

// Far out the exponential neither overflows nor makes a NaN, and a NaN is not hidden.
TEST(SwiGlu, SaturatesAndKeepsNaN) {
  TestTensor gate({1, 5}), up({1, 5}), y({1, 5});
  gate.values() = {-1e30f, -200.0f, 0.0f, 1e30f, std::nanf("")};
  up.values() = {1, 1, 1, 1, 1};
  cpu::SwiGlu({gate.view(), up.view(), y.view()}, 1);
  EXPECT_EQ(y.values()[0], 0.0f);
  EXPECT_EQ(y.values()[1], 0.0f);
  EXPECT_EQ(y.values()[2], 0.0f);
  EXPECT_EQ(y.values()[3], 1e30f);
  EXPECT_TRUE(std::isnan(y.values()[4]));
}

}  // namespace
}  // namespace annulus::kernels::testing
