#include "runtime/bench/rate_fit.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace annulus::runtime {
namespace {

double Seconds(double overhead, double per_flop, double per_byte, const RateSample& at) {
  return overhead * at.calls + per_flop * at.flops + per_byte * at.bytes;
}

// Sizes as kernels have them: FLOPs and bytes grow apart, one sample is of two calls.
std::vector<RateSample> Samples(double overhead, double per_flop, double per_byte) {
  std::vector<RateSample> samples;
  for (const double size : {64.0, 256.0, 1024.0}) {
    for (const double width : {16.0, 128.0}) {
      RateSample sample{.flops = 2 * size * size * width, .bytes = 8 * size * width};
      sample.seconds = Seconds(overhead, per_flop, per_byte, sample);
      samples.push_back(sample);
    }
  }
  samples.push_back({.calls = 2, .flops = 1e4, .bytes = 1e4});
  samples.back().seconds = Seconds(overhead, per_flop, per_byte, samples.back());
  return samples;
}

void ExpectExact(double overhead, double per_flop, double per_byte) {
  const std::vector<RateSample> samples = Samples(overhead, per_flop, per_byte);
  const kernels::KernelRate rate = FitRate(samples);
  EXPECT_NEAR(rate.overhead_s, overhead, 1e-6 * (overhead + 1e-6));
  EXPECT_NEAR(rate.s_per_flop, per_flop, 1e-6 * (per_flop + 1e-12));
  EXPECT_NEAR(rate.s_per_byte, per_byte, 1e-6 * (per_byte + 1e-12));
  EXPECT_LT(ErrorOf(rate, samples).greatest, 1e-6);
}

TEST(FitRate, FindsTheRatesThatMadeTheTimes) {
  ExpectExact(2e-6, 5e-12, 1e-10);
  ExpectExact(0, 5e-12, 1e-10);
  ExpectExact(2e-6, 0, 1e-10);
  ExpectExact(2e-6, 5e-12, 0);
}

// Small calls move their bytes ten times faster than those beyond four caches.
TEST(FitRate, TellsTheCacheFromMemory) {
  const kernels::KernelRate truth{
      .overhead_s = 1e-6, .s_per_byte = 1e-9, .s_per_cached_byte = 1e-10, .cache_bytes = 1000};
  std::vector<RateSample> samples;
  for (const int64_t bytes : {100, 1000, 2000, 3000, 4000, 100000}) {
    samples.push_back({.bytes = static_cast<double>(bytes), .seconds = truth.Seconds(0, bytes)});
  }
  const kernels::KernelRate rate = FitRate(samples, 1000);
  EXPECT_NEAR(rate.s_per_byte, 1e-9, 1e-15);
  EXPECT_NEAR(rate.s_per_cached_byte, 1e-10, 1e-15);
  EXPECT_EQ(rate.cache_bytes, 1000);
  EXPECT_LT(ErrorOf(rate, samples).greatest, 1e-6);
}

// Times that shrink with bytes would need a negative rate: the best without is found instead.
TEST(FitRate, HasNoNegativeRates) {
  std::vector<RateSample> samples = Samples(2e-6, 5e-12, 0);
  for (RateSample& sample : samples) sample.seconds -= 1e-13 * sample.bytes;
  const kernels::KernelRate rate = FitRate(samples);
  EXPECT_GE(rate.overhead_s, 0);
  EXPECT_GT(rate.s_per_flop, 0);
  EXPECT_EQ(rate.s_per_byte, 0);
  EXPECT_GT(ErrorOf(rate, samples).greatest, 0);
}

// Launches that outlast their work would be best explained by an overhead alone.
TEST(FitRate, AlwaysGrowsWithTheWork) {
  std::vector<RateSample> samples;
  for (const double bytes : {1e3, 2e3, 4e3}) {
    samples.push_back({.flops = 2 * bytes, .bytes = bytes, .seconds = 1e-5 - 1e-10 * bytes});
  }
  for (const int64_t cache_bytes : {0, 1500}) {
    const kernels::KernelRate rate = FitRate(samples, cache_bytes);
    EXPECT_GT(rate.s_per_flop + rate.s_per_byte, 0) << cache_bytes;
  }
  const RateSample nothing{.seconds = 3};
  EXPECT_NEAR(FitRate({&nothing, 1}).overhead_s, 3, 1e-9);
}

TEST(FitRate, OfOneSampleIsThatSample) {
  const RateSample sample{.bytes = 100, .seconds = 3};
  const kernels::KernelRate rate = FitRate({&sample, 1});
  EXPECT_NEAR(Seconds(rate.overhead_s, rate.s_per_flop, rate.s_per_byte, sample), 3, 1e-9);
}

TEST(ErrorOf, IsRelative) {
  const std::vector<RateSample> samples = {{.flops = 10, .seconds = 8},
                                           {.flops = 10, .seconds = 10}};
  const FitError error = ErrorOf({.s_per_flop = 1}, samples);
  EXPECT_NEAR(error.greatest, 0.25, 1e-12);
  EXPECT_NEAR(error.rms, 0.25 / std::sqrt(2.0), 1e-12);
}

}  // namespace
}  // namespace annulus::runtime
