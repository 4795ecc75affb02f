#include "tests/kernels/every_device.h"
#include "tests/kernels/test_tensor.h"

namespace annulus::kernels::testing {
namespace {

template <class T>
void ExpectSumInY() {
  for (int64_t size : {1, 3, 17, 63, 64, 65, 1000, 40000}) {
    auto x = TensorOf<T>::Random({size}, 1);
    const auto before = TensorOf<T>::Random({size}, 2);
    const auto got = SameForAnyThreads([&](int threads) {
      TensorOf<T> y = before;
      Table(threads).Add({x.view(), y.view()});
      return Results{y.template As<float>()};
    });
    std::vector<float> expected = before.template As<float>();
    for (size_t i = 0; i < expected.size(); ++i) expected[i] += ToFloat(x.values()[i]);
    ExpectSameBits(got[0], RoundedTo<T>(expected), "y");
  }
}

class Add : public EveryDevice {};

TEST_P(Add, AddsToY) {
  ExpectSumInY<float>();
  ExpectSumInY<BFloat16>();
}

class Reductions : public EveryDevice {};

// Whole numbers: every partial sum is exact, so the result is, whatever the order.
TEST_P(Reductions, AreExactWhereFloat64Is) {
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
      EXPECT_EQ(Table(threads).Sum(x.view()), sum) << size;
      EXPECT_EQ(Table(threads).SumOfSquares(x.view()), squares) << size;
    }
  }
}

TEST_P(Reductions, BitsDoNotDependOnThreads) {
  TestTensor x = TestTensor::Random({100003}, 1);
  for (int threads : {2, 3}) {
    EXPECT_EQ(Table(threads).Sum(x.view()), Table(1).Sum(x.view()));
    EXPECT_EQ(Table(threads).SumOfSquares(x.view()), Table(1).SumOfSquares(x.view()));
  }
}

// 2^24 ones and a tail: an f32 sum would stop at 2^24.
TEST_P(Reductions, DoNotSaturate) {
  if (!GetParam()->is_fast()) GTEST_SKIP() << "16 million elements";
  TestTensor x({(1 << 24) + 1000});
  std::fill(x.values().begin(), x.values().end(), 1.0f);
  EXPECT_EQ(Table(2).Sum(x.view()), (1 << 24) + 1000);
}

ANNULUS_ON_EVERY_DEVICE(Add);
ANNULUS_ON_EVERY_DEVICE(Reductions);

}  // namespace
}  // namespace annulus::kernels::testing
