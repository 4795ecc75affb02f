#include "tests/kernels/every_device.h"
#include "tests/kernels/test_tensor.h"
#include "tests/reference/layer_reference.h"

namespace annulus::kernels::testing {
namespace {

template <class T>
void ExpectSwiGluMatchesReference() {
  for (const auto [rows, width] : kExtents) {
    SCOPED_TRACE(fmt::format("{} x {} of {}", rows, width, NameOf(DTypeOf<T>::value)));
    auto gate = TensorOf<T>::Random({rows, width}, 1, 10);
    auto up = TensorOf<T>::Random({rows, width}, 2);
    const auto got = SameForAnyThreads([&](int threads) {
      TensorOf<T> y({rows, width}), over_gate = gate, over_up = up;
      Table(threads).SwiGlu({gate.view(), up.view(), y.view()});
      Table(threads).SwiGlu({over_gate.view(), up.view(), over_gate.view()});
      Table(threads).SwiGlu({gate.view(), over_up.view(), over_up.view()});
      return Results{y.template As<float>(), over_gate.template As<float>(),
                     over_up.template As<float>()};
    });
    ExpectAsGoodAsPlain(
        got[0], reference::SwiGlu<double>(gate.template As<double>(), up.template As<double>()),
        RoundedTo<T>(reference::SwiGlu<float>(gate.template As<float>(), up.template As<float>())),
        "y");
    ExpectSameBits(got[1], got[0], "y over gate");
    ExpectSameBits(got[2], got[0], "y over up");
  }
}

class SwiGlu : public EveryDevice {};

TEST_P(SwiGlu, MatchesReference) {
  ExpectSwiGluMatchesReference<float>();
  ExpectSwiGluMatchesReference<BFloat16>();
}

template <class T>
void ExpectSwiGluBackwardMatchesReference() {
  for (const auto [rows, width] : kExtents) {
    SCOPED_TRACE(fmt::format("{} x {} of {}", rows, width, NameOf(DTypeOf<T>::value)));
    auto dy = TensorOf<T>::Random({rows, width}, 1);
    auto gate = TensorOf<T>::Random({rows, width}, 2, 10);
    auto up = TensorOf<T>::Random({rows, width}, 3);
    const auto got = SameForAnyThreads([&](int threads) {
      TensorOf<T> dgate({rows, width}), dup({rows, width}), over_gate = gate, over_up = up;
      Table(threads).SwiGluBackward({dy.view(), gate.view(), up.view(), dgate.view(), dup.view()});
      Table(threads).SwiGluBackward(
          {dy.view(), over_gate.view(), over_up.view(), over_gate.view(), over_up.view()});
      return Results{dgate.template As<float>(), dup.template As<float>(),
                     over_gate.template As<float>(), over_up.template As<float>()};
    });
    const auto truth = reference::SwiGluBackward<double>(
        dy.template As<double>(), gate.template As<double>(), up.template As<double>());
    const auto plain = reference::SwiGluBackward<float>(
        dy.template As<float>(), gate.template As<float>(), up.template As<float>());
    ExpectAsGoodAsPlain(got[0], truth.dgate, RoundedTo<T>(plain.dgate), "dgate");
    ExpectAsGoodAsPlain(got[1], truth.dup, RoundedTo<T>(plain.dup), "dup");
    ExpectSameBits(got[2], got[0], "dgate over gate");
    ExpectSameBits(got[3], got[1], "dup over up");
  }
}

class SwiGluBackward : public EveryDevice {};

TEST_P(SwiGluBackward, MatchesReference) {
  ExpectSwiGluBackwardMatchesReference<float>();
  ExpectSwiGluBackwardMatchesReference<BFloat16>();
}

// Far out the exponential neither overflows nor makes a NaN, and a NaN is not hidden.
TEST_P(SwiGlu, SaturatesAndKeepsNaN) {
  TestTensor gate({1, 5}), up({1, 5}), y({1, 5});
  gate.values() = {-1e30f, -200.0f, 0.0f, 1e30f, std::nanf("")};
  up.values() = {1, 1, 1, 1, 1};
  Table(1).SwiGlu({gate.view(), up.view(), y.view()});
  EXPECT_EQ(y.values()[0], 0.0f);
  EXPECT_EQ(y.values()[1], 0.0f);
  EXPECT_EQ(y.values()[2], 0.0f);
  EXPECT_EQ(y.values()[3], 1e30f);
  EXPECT_TRUE(std::isnan(y.values()[4]));
}

ANNULUS_ON_EVERY_DEVICE(SwiGlu);
ANNULUS_ON_EVERY_DEVICE(SwiGluBackward);

}  // namespace
}  // namespace annulus::kernels::testing
