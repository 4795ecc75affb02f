// What calls cost by a machine's rates, and the clock that the dry table advances by them.
#include "kernels/base/compute_rates.h"

#include <gtest/gtest.h>

#include "kernels/base/dry_clock.h"
#include "kernels/base/error.h"
#include "kernels/base/kernels.h"
#include "kernels/cpu/cpu_table.h"
#include "kernels/dry/dry_table.h"
#include "tests/kernels/test_memory.h"

namespace annulus::kernels::testing {
namespace {

constexpr double kMicro = 1e-6;

ComputeRates::Entry Attention(int64_t head_dim, double s_per_flop) {
  return {.work = RateClass::kAttentionForward,
          .dtype = DType::kF32,
          .head_dim = head_dim,
          .rate = {.s_per_flop = s_per_flop}};
}

CallCost AttentionCost(int64_t head_dim) {
  return {.work = RateClass::kAttentionForward, .dtype = DType::kF32, .head_dim = head_dim};
}

std::string ComplaintOf(const ComputeRates& rates, const CallCost& cost) {
  try {
    rates.Of(cost);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "";
}

TEST(ComputeRates, ACallTakesItsOverheadItsFlopsAndItsBytes) {
  const KernelRate rate{.overhead_s = 3, .s_per_flop = 0.5, .s_per_byte = 0.25};
  EXPECT_DOUBLE_EQ(rate.Seconds(8, 20), 3 + 4 + 5);
}

TEST(ComputeRates, BytesThatFitTheCacheHaveARateOfTheirOwn) {
  const KernelRate rate{.s_per_byte = 10, .s_per_cached_byte = 2, .cache_bytes = 100};
  EXPECT_DOUBLE_EQ(rate.Seconds(0, 50), 100);
  EXPECT_DOUBLE_EQ(rate.Seconds(0, 100), 200);
  EXPECT_DOUBLE_EQ(rate.Seconds(0, 200), 200 * 6);  // half way by the logarithm
  EXPECT_DOUBLE_EQ(rate.Seconds(0, 400), 4000);
  EXPECT_DOUBLE_EQ(rate.Seconds(0, 4000), 40000);
}

TEST(ComputeRates, HeadSizesBetweenTwoAreInterpolatedOthersTakeTheNearest) {
  ComputeRates rates;
  rates.Add(Attention(128, 1));
  rates.Add(Attention(32, 3));
  EXPECT_DOUBLE_EQ(rates.Of(AttentionCost(32)).s_per_flop, 3);
  EXPECT_DOUBLE_EQ(rates.Of(AttentionCost(64)).s_per_flop, 2);  // half way between the logarithms
  EXPECT_DOUBLE_EQ(rates.Of(AttentionCost(16)).s_per_flop, 3);
  EXPECT_DOUBLE_EQ(rates.Of(AttentionCost(256)).s_per_flop, 1);
}

TEST(ComputeRates, SayWhichSectionIsMissing) {
  ComputeRates rates;
  rates.Add(Attention(64, 1));
  EXPECT_EQ(ComplaintOf(rates, {.work = RateClass::kMatMul, .dtype = DType::kBF16}),
            "the machine file has no rate of matmul in bf16: add a section [matmul bf16]");
  CallCost backward = AttentionCost(64);
  backward.work = RateClass::kAttentionBackward;
  EXPECT_NE(ComplaintOf(rates, backward).find("[attention_backward f32 64]"), std::string::npos);
}

TEST(ComputeRates, RefuseASecondRateOfAKind) {
  ComputeRates rates;
  rates.Add(Attention(64, 1));
  EXPECT_THROW(rates.Add(Attention(64, 2)), InternalError);
}

// A dry product and a dry sum advance the clock by hand-computed times, each in its class.
TEST(DryClock, TheDryTableAdvancesItByWhatTheFrontCounts) {
  ComputeRates rates;
  rates.Add({.work = RateClass::kMatMul,
             .dtype = DType::kF32,
             .rate = {.overhead_s = 2 * kMicro, .s_per_flop = 1e-9}});
  rates.Add({.work = RateClass::kElementwise, .dtype = DType::kF32, .rate = {.s_per_byte = 1e-8}});
  DryClock clock(&rates);
  const CpuTable modelled(1);
  DryTable table(modelled, &clock);
  TestMemory memory(1 << 20);
  Kernels kernels(table, memory);
  const View a = memory.Allocate(DType::kF32, {10, 20}, MemoryCategory::kActivations, "a");
  const View b = memory.Allocate(DType::kF32, {20, 30}, MemoryCategory::kActivations, "b");
  const View c = memory.Allocate(DType::kF32, {10, 30}, MemoryCategory::kActivations, "c");
  kernels.MatMul({.a = a, .b = b, .c = c});
  const double product = 2 * kMicro + 2.0 * 10 * 20 * 30 * 1e-9;
  EXPECT_NEAR(clock.now_s(), product, 1e-15);
  kernels.Sum(c);
  EXPECT_NEAR(clock.now_s(), product + 300 * 4 * 1e-8, 1e-15);
  EXPECT_NEAR(clock.times().compute_of(RateClass::kMatMul), product, 1e-15);
  EXPECT_NEAR(clock.times().total_s(), clock.now_s(), 1e-15);
  EXPECT_EQ(clock.times().exposed_s, 0);
}

TEST(DryClock, WithoutRatesNothingTakesTimeButCallsAreNoted) {
  DryClock first, same, other;
  for (DryClock* clock : {&first, &same}) clock->Compute({.flops = 10, .bytes = 20});
  other.Compute({.flops = 10, .bytes = 21});
  EXPECT_EQ(first.now_s(), 0);
  EXPECT_EQ(first.fingerprint(), same.fingerprint());
  EXPECT_NE(first.fingerprint(), other.fingerprint());
  EXPECT_NE(first.fingerprint(), DryClock().fingerprint());
}

}  // namespace
}  // namespace annulus::kernels::testing
