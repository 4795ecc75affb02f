// Conversions between f32 and bf16.
#include "kernels/base/bfloat16.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace annulus::kernels {
namespace {

TEST(BFloat16, EveryValueSurvivesTheRoundTrip) {
  for (uint32_t bits = 0; bits <= 0xffff; ++bits) {
    const BFloat16 x{static_cast<uint16_t>(bits)};
    if (std::isnan(ToFloat(x))) {
      EXPECT_TRUE(std::isnan(ToFloat(ToBFloat16(ToFloat(x))))) << bits;
    } else {
      EXPECT_EQ(ToBFloat16(ToFloat(x)).bits, bits);
    }
  }
}

TEST(BFloat16, RoundsToNearestAndTiesToEven) {
  EXPECT_EQ(ToBFloat16(1.0f + 0x1p-8f).bits, 0x3f80);             // a tie, down to even
  EXPECT_EQ(ToBFloat16(1.0f + 0x3p-8f).bits, 0x3f82);             // a tie, up to even
  EXPECT_EQ(ToBFloat16(1.0f + 0x1p-8f + 0x1p-20f).bits, 0x3f81);  // just above the tie
  EXPECT_EQ(ToBFloat16(-1.0f - 0x3p-8f).bits, 0xbf82);
  EXPECT_EQ(ToBFloat16(0x1.ffp0f).bits, 0x4000);  // carries into the exponent
}

TEST(BFloat16, OverflowsToInfinityAndKeepsNaN) {
  EXPECT_EQ(ToFloat(ToBFloat16(std::numeric_limits<float>::max())),
            std::numeric_limits<float>::infinity());
  EXPECT_EQ(ToFloat(ToBFloat16(-std::numeric_limits<float>::infinity())),
            -std::numeric_limits<float>::infinity());
  // A payload in the low half alone would otherwise round to infinity.
  EXPECT_TRUE(std::isnan(ToFloat(ToBFloat16(std::bit_cast<float>(0x7f800001u)))));
}

}  // namespace
}  // namespace annulus::kernels
