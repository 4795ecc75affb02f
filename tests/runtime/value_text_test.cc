#include "runtime/config/value_text.h"

#include <gtest/gtest.h>

#include <cstdint>

#include "tests/runtime/message_of.h"

namespace annulus::runtime {
namespace {

TEST(ValueTextTest, WholeNumbersAreReadWhole) {
  EXPECT_EQ(ParseWhole<int64_t>("-12", "k"), -12);
  EXPECT_EQ(ParseWhole<uint64_t>("18446744073709551615", "k"), UINT64_MAX);
  const auto message = [](std::string_view text) {
    return MessageOf([&] { ParseWhole<int64_t>(text, "train.steps"); });
  };
  for (const char* text : {"ten", "", "1 0", "10x", "1.5", "1e3", "+1", " 1", "0x10", "--1"}) {
    EXPECT_EQ(message(text), fmt::format("train.steps: '{}' is not a whole number", text));
  }
  EXPECT_EQ(message("9223372036854775808"),
            "train.steps: 9223372036854775808 is out of range: -9223372036854775808 to "
            "9223372036854775807");
  EXPECT_EQ(MessageOf([] { ParseWhole<uint64_t>("-1", "k"); }),
            "k: '-1' is not a whole number of 0 or more");
  EXPECT_EQ(MessageOf([] { ParseWhole<int>("3000000000", "k"); }),
            "k: 3000000000 is out of range: -2147483648 to 2147483647");
}

TEST(ValueTextTest, RealNumbersReadBackToTheSameBits) {
  for (double value : {0.0, 1e-3, 0.1, 1.0 / 3, 10000.0, 1e-8, 5e-324, 1.7976931348623157e308}) {
    EXPECT_EQ(ParseReal(RenderReal(value), "k"), value);
  }
  EXPECT_EQ(RenderReal(10000), "10000");
  for (const char* text : {"", "x", "1,5", "0.1f", "1e", "inf", "nan", "1e999", " 1"}) {
    EXPECT_EQ(MessageOf([&] { ParseReal(text, "k"); }),
              fmt::format("k: '{}' is not a finite number", text));
  }
}

TEST(ValueTextTest, BooleansAreTrueOrFalse) {
  EXPECT_TRUE(ParseBool("true", "k"));
  EXPECT_FALSE(ParseBool("false", "k"));
  for (const char* text : {"yes", "1", "True", ""}) {
    EXPECT_EQ(MessageOf([&] { ParseBool(text, "k"); }),
              fmt::format("k: '{}' is neither true nor false", text));
  }
}

TEST(ValueTextTest, BytesTakeSuffixes) {
  EXPECT_EQ(ParseBytes("4096", "k"), 4096);
  EXPECT_EQ(ParseBytes("2K", "k"), 2048);
  EXPECT_EQ(ParseBytes("512M", "k"), int64_t{512} << 20);
  EXPECT_EQ(ParseBytes("1.5G", "k"), int64_t{3} << 29);
  EXPECT_EQ(ParseBytes("2T", "k"), int64_t{2} << 40);
  EXPECT_EQ(ParseBytes("0.1K", "k"), 102);
  for (const char* text : {"", "M", "1.5", "1e3M", "1X", "1 M", "1MB", "nanG", "infG", "9e18",
                           "9999999999T", "9223372036854775808"}) {
    EXPECT_EQ(MessageOf([&] { ParseBytes(text, "k"); }),
              fmt::format("k: '{}' is not a number of bytes, as in 4096, 512M or 1.5G", text));
  }
}

TEST(ValueTextTest, BytesReadBack) {
  EXPECT_EQ(RenderBytes(int64_t{3} << 29), "1536M");
  for (int64_t bytes : {int64_t{0}, int64_t{1}, int64_t{1023}, int64_t{1024}, int64_t{1536},
                        int64_t{512} << 20, int64_t{3} << 50, INT64_MAX}) {
    EXPECT_EQ(ParseBytes(RenderBytes(bytes), "k"), bytes);
  }
}

TEST(ValueTextTest, SchedulesReadBack) {
  const std::vector<ContextPhase> schedule = {{512, 100}, {2048, 20}, {8192, 40}};
  EXPECT_EQ(RenderSchedule(schedule), "512:100,2048:20,8192:40");
  EXPECT_EQ(ParseSchedule("512:100,2048:20,8192:40", "k"), schedule);
  EXPECT_EQ(ParseSchedule("", "k"), std::vector<ContextPhase>{});
}

TEST(ValueTextTest, SchedulesAreLengthsAndSteps) {
  for (const char* text : {"512", "512:1,", ",512:1", "512:1,,1024:2", ","}) {
    EXPECT_EQ(MessageOf([&] { ParseSchedule(text, "k"); }),
              fmt::format("k: '{}' is not LENGTH:STEPS,..., as in 512:100,2048:20", text));
  }
  EXPECT_EQ(MessageOf([] { ParseSchedule("512:ten", "k"); }), "k: 'ten' is not a whole number");
  EXPECT_EQ(MessageOf([] { ParseSchedule("512:1:2", "k"); }), "k: '1:2' is not a whole number");
  EXPECT_EQ(MessageOf([] { ParseSchedule("512:1, 2:2", "k"); }), "k: ' 2' is not a whole number");
}

TEST(ValueTextTest, TextHoldsNoControlCharacters) {
  EXPECT_EQ(ParseText("a \xC3\xA9 # b", "k"), "a \xC3\xA9 # b");
  EXPECT_EQ(MessageOf([] { ParseText("a\nb", "k"); }), "k: the value holds a control character");
}

}  // namespace
}  // namespace annulus::runtime
