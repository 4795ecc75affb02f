#include "kernels/cpu/elementwise.h"
#include "tests/kernels/test_tensor.h"

namespace annulus::kernels::testing {
namespace {

TEST(Add, AddsToY) {
  for (int64_t size : {1, 3, 17, 63, 64, 65, 1000, 40000}) {
    TestTensor x = TestTensor::Random({size}, 1);
    const TestTensor before = TestTensor::Random({size}, 2);
    const auto got = SameForAnyThreads([&](int threads) {
      TestTensor y = before;
      cpu::Add({x.view(), y.view()}, threads);
      return Results{y.values()};
    });
    std::vector<float> expected = before.values();
    for (size_t i = 0; i < expected.size(); ++i) expected[i] += x.values()[i];
    ExpectSameBits(got[0], expected, "y");
  }
}

// Whole numbers: every partial sum is exact, so the result is, whatever the order.
TEST(Reductions, AreExactWhereFloat64Is) {
  for (int64_t size : {0, 1, 3, 17, 63, 64, 65, 1000, 16384, 16385, 100000}) {
    TestTensor x({size});
    double sum = 0, squares = 0;
    for (size_t i = 0; i < x.values().size(); ++i) {
      const auto value = static_cast<double>((i * 7919) % 20011) - 10000;
      x.values()[i] = static_cast<float>(value);
      sum += value;
      squares += value * value;
    }
    for (int threads : {1, 2, 3}) {
      EXPECT_EQ(cpu::Sum(x.view(), threads), sum) << size;
      EXPECT_EQ(cpu::SumOfSquares(x.view(), threads), squares) << size;
    }
  }
}

TEST(Reductions, BitsDoNotDependOnThreads) {
  TestTensor x = TestTensor::Random({100003}, 1);
  for (int threads : {2, 3}) {
    EXPECT_EQ(cpu::Sum(x.view(), threads), cpu::Sum(x.view(), 1));
    EXPECT_EQ(cpu::SumOfSquares(x.view(), threads), cpu::SumOfSquares(x.view(), 1));
  }
}

// 2^24 ones and a tail: an f32 sum would stop at 2^24.
TEST(Reductions, DoNotSaturate) {
  TestTensor x({(1 << 24) + 1000});
  std::fill(x.values().begin(), x.values().end(), 1.0f);
  EXPECT_EQ(cpu::Sum(x.view(), 2), (1 << 24) + 1000);
}

}  // namespace
}  // namespace annulus::kernels::testing
