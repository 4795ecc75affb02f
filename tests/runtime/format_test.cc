#include "runtime/io/format.h"

#include <gtest/gtest.h>

#include <limits>

#include "kernels/base/error.h"

namespace annulus::runtime {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr int64_t kLargest = std::numeric_limits<int64_t>::max();
constexpr int64_t kSmallest = std::numeric_limits<int64_t>::min();

TEST(FormatTest, Counts) {
  EXPECT_EQ(FormatCount(0), "0");
  EXPECT_EQ(FormatCount(999), "999");
  EXPECT_EQ(FormatCount(1000), "1,000");
  EXPECT_EQ(FormatCount(-999), "-999");
  EXPECT_EQ(FormatCount(-123456), "-123,456");
  EXPECT_EQ(FormatCount(1234567), "1,234,567");
  EXPECT_EQ(FormatCount(kLargest), "9,223,372,036,854,775,807");
  EXPECT_EQ(FormatCount(kSmallest), "-9,223,372,036,854,775,808");
}

TEST(FormatTest, Bytes) {
  EXPECT_EQ(FormatBytes(0), "0 B");
  EXPECT_EQ(FormatBytes(1023), "1,023 B");
  EXPECT_EQ(FormatBytes(1024), "1.00 KiB");
  EXPECT_EQ(FormatBytes(int64_t{3} << 29), "1.50 GiB");
  EXPECT_EQ(FormatBytes(1024 * 1024 - 1), "1.00 MiB");
  EXPECT_EQ(FormatBytes(-2048), "-2.00 KiB");
  EXPECT_EQ(FormatBytes(kLargest), "8.00 EiB");
  EXPECT_EQ(FormatBytes(kSmallest), "-8.00 EiB");
}

TEST(FormatTest, Durations) {
  EXPECT_EQ(FormatDuration(0), "0 ns");
  EXPECT_EQ(FormatDuration(950e-9), "950 ns");
  EXPECT_EQ(FormatDuration(12.34e-6), "12.3 us");
  EXPECT_EQ(FormatDuration(1.5e-3), "1.50 ms");
  EXPECT_EQ(FormatDuration(999.9e-3), "1.00 s");
  EXPECT_EQ(FormatDuration(59.94), "59.9 s");
  EXPECT_EQ(FormatDuration(59.96), "1 m 00 s");
  EXPECT_EQ(FormatDuration(83), "1 m 23 s");
  EXPECT_EQ(FormatDuration(3599.7), "1 h 00 m");
  EXPECT_EQ(FormatDuration(7500), "2 h 05 m");
  EXPECT_EQ(FormatDuration(3 * 86400 + 4 * 3600), "3 d 04 h");
  EXPECT_EQ(FormatDuration(-2), "-2.00 s");
  EXPECT_EQ(FormatDuration(kInfinity), "n/a");
}

TEST(FormatTest, Rates) {
  EXPECT_EQ(FormatRate(1.234e9, "FLOP/s"), "1.23 GFLOP/s");
  EXPECT_EQ(FormatRate(999.6, "tokens/s"), "1.00 ktokens/s");
  EXPECT_EQ(FormatRate(12.34, "tokens/s"), "12.3 tokens/s");
  EXPECT_EQ(FormatRate(0, "B/s"), "0.00 B/s");
  EXPECT_EQ(FormatRate(-5e3, "B/s"), "-5.00 kB/s");
  EXPECT_EQ(FormatRate(kInfinity, "B/s"), "n/a B/s");
}

TEST(TextTableTest, AlignsColumns) {
  TextTable table({{"what"}, {"bytes", Align::kRight}, {"why"}});
  table.AddRow({"activations", "1", "kept"});
  table.AddRow({"µ", "12,345,678", ""});
  EXPECT_EQ(table.ToString(),
            "what              bytes  why\n"
            "-----------  ----------  ----\n"
            "activations           1  kept\n"
            "µ            12,345,678\n");
  EXPECT_THROW(table.AddRow({"one"}), InternalError);
}

}  // namespace
}  // namespace annulus::runtime
