#include <algorithm>

#include "tests/kernels/gemm_operand.h"

namespace annulus::kernels::testing {
namespace {

struct Case {
  int64_t m, n, k;
};

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
