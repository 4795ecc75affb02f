#include <algorithm>

#include "tests/kernels/gemm_operand.h"
#include "tests/reference/layer_reference.h"

namespace annulus::kernels::testing {
namespace {

struct Case {
  int64_t m, n, k;
};

constexpr Case kCases[] = {{1, 1, 1},    {1, 17, 64},  {17, 1, 3},     {3, 5, 1},
                           {63, 65, 17}, {64, 64, 64}, {100, 176, 64}, {65, 33, 257}};

class GemmOf : public ::testing::TestWithParam<std::tuple<bool, bool, bool, bool>> {};

TEST_P(GemmOf, MatchesReference) {
  const auto [a_transposed, b_transposed, c_transposed, accumulate] = GetParam();
  cpu::Gemm gemm(2);
  for (const auto [m, n, k] : kCases) {
    SCOPED_TRACE(fmt::format("{} x {} x {}", m, n, k));
    Operand a(m, k, a_transposed, 1), b(k, n, b_transposed, 2), c(m, n, c_transposed, 3);
    std::vector<double> truth =
        reference::MatMul<double>(a.Elements<double>(), b.Elements<double>(), k);
    std::vector<float> plain =
        reference::MatMul<float>(a.Elements<float>(), b.Elements<float>(), k);
    if (accumulate) {
      const auto before = c.Elements<double>();
      for (size_t i = 0; i < truth.size(); ++i) {
        truth[i] += before[i];
        plain[i] += static_cast<float>(before[i]);
      }
    } else {
      c.tensor = TestTensor({c.tensor.view().dim(0), c.tensor.view().dim(1)});
    }
    Multiply(gemm, {a.view(), b.view(), c.view(), accumulate});
    ExpectAsGoodAsPlain(c.Elements<float>(), truth, plain, "c");
  }
}

INSTANTIATE_TEST_SUITE_P(Layouts, GemmOf,
                         ::testing::Combine(::testing::Bool(), ::testing::Bool(), ::testing::Bool(),
                                            ::testing::Bool()));

// Columns of a wider matrix, as of a fused projection; what lies beside them is not touched.
TEST(Gemm, ReadsAndWritesColumnSlices) {
  cpu::Gemm gemm(2);
  TestTensor wide = TestTensor::Random({50, 100}, 1), b = TestTensor::Random({30, 20}, 2);
  TestTensor wide_c = TestTensor::Random({50, 60}, 3);
  const std::vector<float> before = wide_c.values();
  TestTensor a({50, 30}), c({50, 20});
  for (size_t i = 0; i < 50 * 30; ++i) a.values()[i] = wide.values()[i / 30 * 100 + 40 + i % 30];
  Multiply(gemm, {a.view(), b.view(), c.view()});
  Multiply(gemm, {wide.view().Slice(1, 40, 30), b.view(), wide_c.view().Slice(1, 10, 20)});
  for (size_t i = 0; i < 50 * 60; ++i) {
    const size_t row = i / 60, column = i % 60;
    const bool written = column >= 10 && column < 30;
    const float expected = written ? c.values()[row * 20 + column - 10] : before[i];
    ASSERT_NEAR(wide_c.values()[i], expected, written ? 1e-5 : 0) << row << ", " << column;
  }
}

// A row alone may carry any stride: it is never taken.
TEST(Gemm, TakesSingleRowsOfAnyStride) {
  cpu::Gemm gemm(2);
  TestTensor a = TestTensor::Random({1, 30}, 1), b = TestTensor::Random({30, 20}, 2);
  TestTensor outer = TestTensor::Random({1, 20}, 3);
  const auto plain = reference::MatMul<float>(a.values(), b.values(), 30);
  const auto truth = reference::MatMul<double>(a.As<double>(), b.As<double>(), 30);
  const auto with_stride = [](View row, int64_t stride) {
    row.stride[0] = stride;
    return row;
  };
  for (int64_t stride : {0, 1, 7, 1000}) {
    SCOPED_TRACE(stride);
    TestTensor c({1, 20});
    Multiply(gemm, {with_stride(a.view(), stride), b.view(), with_stride(c.view(), stride)});
    ExpectAsGoodAsPlain(c.values(), truth, plain, "a and c");
    TestTensor product({30, 20});
    Multiply(gemm, {a.view().Transposed(), with_stride(outer.view(), stride), product.view()});
    EXPECT_EQ(product.values()[20], a.values()[1] * outer.values()[0]);
    TestTensor turned({1, 20});
    Multiply(gemm, {b.view().Transposed(), with_stride(a.view(), stride).Transposed(),
                    with_stride(turned.view(), stride).Transposed()});
    ExpectAsGoodAsPlain(turned.values(), truth, plain, "transposed a and c");
  }
}

TEST(Gemm, SumOverNothingIsZero) {
  cpu::Gemm gemm(1);
  float nothing = 0;
  const View a(&nothing, DType::kF32, {5, 0}), b(&nothing, DType::kF32, {0, 7});
  TestTensor c({5, 7});
  Multiply(gemm, {a, b, c.view()});
  EXPECT_EQ(c.values(), std::vector<float>(35, 0.0f));
  TestTensor kept = TestTensor::Random({5, 7}, 1);
  const std::vector<float> before = kept.values();
  Multiply(gemm, {a, b, kept.view(), true});
  EXPECT_EQ(kept.values(), before);
}

TEST(Gemm, NothingIsDoneWithoutRows) {
  cpu::Gemm gemm(1);
  float nothing = 0;
  TestTensor b = TestTensor::Random({5, 7}, 1);
  const View none(&nothing, DType::kF32, {0, 5}), c(&nothing, DType::kF32, {0, 7});
  EXPECT_EQ(gemm.ScratchBytes({none, b.view(), c}), 0);
  Multiply(gemm, {none, b.view(), c});
}

// A plan asks for the scratch of products far larger than this machine's memory.
TEST(Gemm, PlansWithoutMemory) {
  cpu::Gemm gemm(2);
  const View x(nullptr, DType::kF32, {1 << 24, 4096});
  const View weight(nullptr, DType::kF32, {14336, 4096});
  const View y(nullptr, DType::kF32, {1 << 24, 14336});
  EXPECT_LT(gemm.ScratchBytes({x, weight.Transposed(), y}), 1 << 24);
  EXPECT_LT(gemm.ScratchBytes({y.Transposed(), x, weight, true}), 1 << 24);
}

TEST(Gemm, RefusesOperandsWithoutUnitStride) {
  cpu::Gemm gemm(1);
  TestTensor a = TestTensor::Random({4, 4}, 1), c({4, 4});
  View spread = a.view();
  spread.stride = {8, 2, 0, 0};
  EXPECT_THROW(gemm.ScratchBytes({spread, a.view(), c.view()}), InternalError);
}

TEST(Gemm, RefusesScratchThatIsTooSmall) {
  cpu::Gemm gemm(2);
  TestTensor a = TestTensor::Random({256, 1024}, 1), b = TestTensor::Random({256, 1024}, 2);
  TestTensor c({1024, 1024});
  const MatMulArgs args{a.view().Transposed(), b.view(), c.view()};
  ASSERT_GT(gemm.ScratchBytes(args), 0);
  EXPECT_THROW(gemm.MatMul(args, View(nullptr, DType::kByte, {0})), InternalError);
}

// The rows of a sequence are split over ranks and micro-batches: a row's bits must not tell where.
TEST(Gemm, BitsDoNotDependOnRowSplitsOrThreads) {
  cpu::Gemm one(1), two(2), three(3);
  for (const auto [m, n, k] : {Case{100, 64, 64},
                               {100, 176, 64},
                               {1000, 64, 176},
                               {512, 256, 64},
                               {300, 64, 256},
                               {8192, 64, 64},
                               {256, 256, 1024},
                               {128, 1024, 256}}) {
    for (bool transposed : {false, true}) {
      for (bool accumulate : {false, true}) {
        SCOPED_TRACE(fmt::format("{} x {} x {}, {}", m, n, k, transposed));
        TestTensor a = TestTensor::Random({m, k}, 1);
        Operand b(k, n, transposed, 2);
        const TestTensor before = TestTensor::Random({m, n}, 3);
        const auto product = [&](cpu::Gemm& gemm, std::initializer_list<int64_t> cuts) {
          TestTensor c = before;
          int64_t begin = 0;
          for (int64_t end : cuts) {
            const int64_t rows = end - begin;
            Multiply(gemm, {a.view().Slice(0, begin, rows), b.view(),
                            c.view().Slice(0, begin, rows), accumulate});
            begin = end;
          }
          return c.values();
        };
        const std::vector<float> whole = product(one, {m});
        ExpectSameBits(product(two, {m}), whole, "2 threads");
        ExpectSameBits(product(three, {m}), whole, "3 threads");
        ExpectSameBits(product(one, {m / 2, m}), whole, "halves");
        ExpectSameBits(product(two, {m / 4, m / 2, 3 * m / 4, m}), whole, "quarters");
        ExpectSameBits(product(two, {1, 33, 50, m}), whole, "odd rows");
      }
    }
  }
}

// Weight gradients sum over rows, with a transposed.
TEST(Gemm, BitsOfWeightGradientsDoNotDependOnThreads) {
  for (const auto [m, n, k] : {Case{64, 64, 1000}, {176, 64, 8192}, {256, 1024, 512}}) {
    TestTensor dy = TestTensor::Random({k, m}, 1), x = TestTensor::Random({k, n}, 2);
    SameForAnyThreads([&, m = m, n = n](int threads) {
      cpu::Gemm gemm(threads);
      TestTensor dweight = TestTensor::Random({m, n}, 3);
      Multiply(gemm, {dy.view().Transposed(), x.view(), dweight.view(), true});
      return Results{dweight.values()};
    });
  }
}

#if defined(__x86_64__)
// On every thread of the product, and without a change to the caller's floating-point mode.
TEST(Gemm, CountsDenormalsAsZero) {
  for (int threads : {1, 2}) {
    constexpr unsigned kFlushModes = (1u << 15) | (1u << 6);
    const unsigned mode = __builtin_ia32_stmxcsr() & kFlushModes;
    cpu::Gemm gemm(threads);
    TestTensor a({256, 64}), b({64, 128}), c({256, 128});
    std::fill(a.values().begin(), a.values().end(), 1e-30f);
    std::fill(b.values().begin(), b.values().end(), 1e-12f);
    Multiply(gemm, {a.view(), b.view(), c.view()});
    for (float value : c.values()) ASSERT_EQ(value, 0.0f) << threads << " threads";
    EXPECT_EQ(__builtin_ia32_stmxcsr() & kFlushModes, mode);
  }
}
#endif

}  // namespace
}  // namespace annulus::kernels::testing
