#include "kernels/cpu/elementwise.h"
#include "tests/kernels/every_target.h"
#include "tests/kernels/test_tensor.h"

namespace annulus::kernels::testing {
namespace {

class Convert : public EveryTarget {};

// Every bf16, NaNs and infinities among them, comes back as ToFloat and ToBFloat16 have it.
TEST_P(Convert, EveryValueSurvivesTheRoundTrip) {
  TensorOf<BFloat16> all({1 << 16}), back({1 << 16});
  for (size_t i = 0; i < all.values().size(); ++i) all.values()[i].bits = static_cast<uint16_t>(i);
  TestTensor wide({1 << 16});
  cpu::Convert(all.view(), wide.view(), 1);
  cpu::Convert(wide.view(), back.view(), 1);
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
      cpu::Convert(x.view(), y.view(), threads);
      return Results{y.As<float>()};
    });
    ExpectSameBits(got[0], RoundedTo<BFloat16>(x.values()), "rounded");
  }
}

// Blocks of a wider matrix; what lies beside them is not touched.
TEST_P(Convert, ReadsAndWritesRowsOfWiderMatrices) {
  auto wide = TensorOf<BFloat16>::Random({300, 100}, 1);
  const TestTensor before = TestTensor::Random({300, 90}, 2);
  const auto got = SameForAnyThreads([&](int threads) {
    TestTensor to = before;
    cpu::Convert(wide.view().Slice(1, 7, 65), to.view().Slice(1, 20, 65), threads);
    return Results{to.values()};
  });
  std::vector<float> expected = before.values();
  for (size_t r = 0; r < 300; ++r) {
    for (size_t i = 0; i < 65; ++i) {
      expected[r * 90 + 20 + i] = ToFloat(wide.values()[r * 100 + 7 + i]);
    }
  }
  ExpectSameBits(got[0], expected, "columns");
}

ANNULUS_ON_EVERY_TARGET(Convert);

}  // namespace
}  // namespace annulus::kernels::testing
