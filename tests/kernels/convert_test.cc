#include "tests/kernels/every_device.h"
#include "tests/kernels/test_tensor.h"

namespace annulus::kernels::testing {
namespace {

class Convert : public EveryDevice {};

// Every bf16, NaNs and infinities among them, comes back as ToFloat and ToBFloat16 have it.
TEST_P(Convert, EveryValueSurvivesTheRoundTrip) {
  TensorOf<BFloat16> all({1 << 16}), back({1 << 16});
  for (size_t i = 0; i < all.values().size(); ++i) all.values()[i].bits = static_cast<uint16_t>(i);
  TestTensor wide({1 << 16});
  Table(1).Convert({all.view(), wide.view()});
  Table(1).Convert({wide.view(), back.view()});
  ExpectSameBits(wide.values(), all.As<float>(), "widened");
  for (size_t i = 0; i < all.values().size(); ++i) {
    ASSERT_EQ(back.values()[i].bits, ToBFloat16(ToFloat(all.values()[i])).bits) << i;
  }
}

TEST_P(Convert, RoundsToNearestEvenOfAnySize) {
  for (int64_t size : {1, 3, 17, 63, 64, 65, 1000, 40000}) {
    TestTensor x = TestTensor::Random({size}, 1);
    // Ties, what rounds up to infinity, and a NaN whose payload lies in the half that is dropped.
    const float special[] = {1 + 0x1p-8f, 1 + 0x3p-8f, -3.4e38f, std::bit_cast<float>(0x7f800001u)};
    for (size_t i = 0; i < x.values().size() && i < 4; ++i) x.values()[i] = special[i];
    const auto got = SameForAnyThreads([&](int threads) {
      TensorOf<BFloat16> y({size});
      Table(threads).Convert({x.view(), y.view()});
      return Results{y.As<float>()};
    });
    ExpectSameBits(got[0], RoundedTo<BFloat16>(x.values()), "rounded");
  }
}

ANNULUS_ON_EVERY_DEVICE(Convert);

}  // namespace
}  // namespace annulus::kernels::testing
