// Products of bf16 matrices, both by oneDNN's own and as f32 products of widened blocks. Where this
// CPU has no bf16 instructions that oneDNN can use, only the latter runs.
#include "kernels/cpu/gemm.h"
#include "tests/kernels/gemm_operand.h"
#include "tests/reference/layer_reference.h"

namespace annulus::kernels::testing {
namespace {

using cpu::Bf16Products;
using Half = OperandOf<BFloat16>;

class Bf16Gemm : public ::testing::TestWithParam<Bf16Products> {
 protected:
  void SetUp() override {
    if (GetParam() == Bf16Products::kNative && !cpu::NativeBf16Works()) {
      GTEST_SKIP() << "oneDNN has no bf16 instructions here";
    }
  }
  cpu::Gemm MakeGemm(int threads) const { return cpu::Gemm(threads, GetParam()); }
};

struct Case {
  int64_t m, n, k;
};

// Odd extents, then more than a block of rows, of columns and of terms.
constexpr Case kCases[] = {{1, 1, 1},    {1, 17, 64},    {17, 1, 3},    {3, 5, 1},
                           {63, 65, 17}, {100, 176, 64}, {65, 33, 257}, {300, 290, 1100}};

// c is T. Layouts are bits: a, b, c transposed, accumulate.
template <class T>
void ExpectMatchesReference(cpu::Gemm gemm, const Case& extents, unsigned layout) {
  const auto [m, n, k] = extents;
  const bool accumulate = (layout & 8) != 0;
  SCOPED_TRACE(fmt::format("{} x {} x {}, layout {}", m, n, k, layout));
  Half a(m, k, (layout & 1) != 0, 1), b(k, n, (layout & 2) != 0, 2);
  OperandOf<T> c(m, n, (layout & 4) != 0, 3);
  auto truth = reference::MatMul<double>(a.Elements<double>(), b.Elements<double>(), k);
  auto plain = reference::MatMul<float>(a.Elements<float>(), b.Elements<float>(), k);
  if (accumulate) {
    const auto before = c.template Elements<double>();
    for (size_t i = 0; i < truth.size(); ++i) {
      truth[i] += before[i];
      plain[i] += static_cast<float>(before[i]);
    }
  } else {
    c.tensor = TensorOf<T>({c.tensor.view().dim(0), c.tensor.view().dim(1)});
  }
  Multiply(gemm, {a.view(), b.view(), c.view(), accumulate});
  ExpectAsGoodAsPlain(c.template Elements<float>(), truth, RoundedTo<T>(plain), "c");
}

TEST_P(Bf16Gemm, MatchesReference) {
  for (const Case& extents : kCases) {
    const bool large = extents.k > 1000;
    for (unsigned layout = 0; layout < 16; ++layout) {
      // The last case is slow in the reference: neutral, weight gradient, both accumulating.
      if (large && layout != 0 && layout != 9) continue;
      ExpectMatchesReference<float>(MakeGemm(2), extents, layout);
      ExpectMatchesReference<BFloat16>(MakeGemm(2), extents, layout);
    }
  }
}

// A sum is rounded to bf16 once, at its end: 2048 ones stay countable beyond 256, where a bf16 sum
// would stop.
TEST_P(Bf16Gemm, RoundsSumsOnce) {
  cpu::Gemm gemm = MakeGemm(2);
  constexpr int64_t kTerms = 2048 + 3;
  for (bool transposed : {false, true}) {
    Half a(3, kTerms, transposed, 1), b(kTerms, 5, false, 2);
    std::fill(a.tensor.values().begin(), a.tensor.values().end(), ToBFloat16(1));
    std::fill(b.tensor.values().begin(), b.tensor.values().end(), ToBFloat16(1));
    TensorOf<BFloat16> c({3, 5});
    Multiply(gemm, {a.view(), b.view(), c.view()});
    for (const BFloat16& value : c.values()) EXPECT_EQ(ToFloat(value), 2048);
    Multiply(gemm, {a.view(), b.view(), c.view(), true});
    for (const BFloat16& value : c.values()) EXPECT_EQ(ToFloat(value), 4096);
  }
}

// Columns of a wider matrix; what lies beside them is not touched.
TEST_P(Bf16Gemm, ReadsAndWritesColumnSlices) {
  cpu::Gemm gemm = MakeGemm(2);
  auto wide = TensorOf<BFloat16>::Random({50, 100}, 1);
  auto b = TensorOf<BFloat16>::Random({30, 20}, 2);
  auto wide_c = TensorOf<BFloat16>::Random({50, 60}, 3);
  const std::vector<float> before = wide_c.As<float>();
  TensorOf<BFloat16> a({50, 30}), c({50, 20});
  for (size_t i = 0; i < 50 * 30; ++i) a.values()[i] = wide.values()[i / 30 * 100 + 40 + i % 30];
  Multiply(gemm, {a.view(), b.view(), c.view()});
  Multiply(gemm, {wide.view().Slice(1, 40, 30), b.view(), wide_c.view().Slice(1, 10, 20)});
  for (size_t i = 0; i < 50 * 60; ++i) {
    const size_t row = i / 60, column = i % 60;
    const bool written = column >= 10 && column < 30;
    const float expected = written ? ToFloat(c.values()[row * 20 + column - 10]) : before[i];
    // Another layout may round the other way.
    ASSERT_NEAR(ToFloat(wide_c.values()[i]), expected, written ? std::abs(expected) * 0x1p-7 : 0)
        << row << ", " << column;
  }
}

TEST_P(Bf16Gemm, SumOverNothingIsZero) {
  cpu::Gemm gemm = MakeGemm(1);
  BFloat16 nothing;
  const View a(&nothing, DType::kBF16, {5, 0}), b(&nothing, DType::kBF16, {0, 7});
  TensorOf<BFloat16> c({5, 7});
  Multiply(gemm, {a, b, c.view()});
  EXPECT_EQ(c.As<float>(), std::vector<float>(35, 0.0f));
}

// A plan asks for the scratch of products far larger than this machine's memory.
TEST_P(Bf16Gemm, PlansWithoutMemory) {
  cpu::Gemm gemm = MakeGemm(2);
  const View x(nullptr, DType::kBF16, {1 << 24, 4096});
  const View weight(nullptr, DType::kBF16, {14336, 4096});
  const View y(nullptr, DType::kBF16, {1 << 24, 14336});
  const View dweight(nullptr, DType::kF32, {14336, 4096});
  EXPECT_LT(gemm.ScratchBytes({x, weight.Transposed(), y}), 1 << 24);
  EXPECT_LT(gemm.ScratchBytes({y.Transposed(), x, dweight, true}), 1 << 24);
}

TEST_P(Bf16Gemm, RefusesScratchThatIsTooSmall) {
  cpu::Gemm gemm = MakeGemm(2);
  auto a = TensorOf<BFloat16>::Random({256, 1024}, 1),
       b = TensorOf<BFloat16>::Random({256, 1024}, 2);
  TestTensor c({1024, 1024});
  const MatMulArgs args{a.view().Transposed(), b.view(), c.view()};
  ASSERT_GT(gemm.ScratchBytes(args), 0);
  EXPECT_THROW(gemm.MatMul(args, View(nullptr, DType::kByte, {0})), InternalError);
}

template <class T>
void ExpectBitsOfRowsAlone(Bf16Products products, const Case& extents, unsigned layout) {
  const auto [m, n, k] = extents;
  SCOPED_TRACE(
      fmt::format("{} x {} x {} into {}, layout {}", m, n, k, NameOf(DTypeOf<T>::value), layout));
  auto a = TensorOf<BFloat16>::Random({m, k}, 1);
  Half b(k, n, (layout & 1) != 0, 2);
  const auto before = TensorOf<T>::Random({m, n}, 3);
  const auto product = [&](int threads, std::initializer_list<int64_t> cuts) {
    cpu::Gemm gemm(threads, products);
    TensorOf<T> c = before;
    int64_t begin = 0;
    for (int64_t end : cuts) {
      const int64_t rows = end - begin;
      Multiply(gemm, {a.view().Slice(0, begin, rows), b.view(), c.view().Slice(0, begin, rows),
                      (layout & 2) != 0});
      begin = end;
    }
    return c.template As<float>();
  };
  const std::vector<float> whole = product(1, {extents.m});
  ExpectSameBits(product(2, {extents.m}), whole, "2 threads");
  ExpectSameBits(product(3, {extents.m}), whole, "3 threads");
  ExpectSameBits(product(1, {extents.m / 2, extents.m}), whole, "halves");
  ExpectSameBits(product(2, {1, 33, 50, extents.m}), whole, "odd rows");
}

// The rows of a sequence are split over ranks and micro-batches: a row's bits must not tell where.
TEST_P(Bf16Gemm, BitsDoNotDependOnRowSplitsOrThreads) {
  for (const Case& extents : {Case{100, 64, 64},
                              {100, 176, 64},
                              {1000, 64, 176},
                              {512, 256, 64},
                              {8192, 64, 64},
                              {256, 256, 1024},
                              {300, 290, 1100},
                              {128, 1024, 256}}) {
    for (unsigned layout = 0; layout < 4; ++layout) {
      ExpectBitsOfRowsAlone<float>(GetParam(), extents, layout);
      ExpectBitsOfRowsAlone<BFloat16>(GetParam(), extents, layout);
    }
  }
}

// Weight gradients sum over rows, with a transposed, into f32.
TEST_P(Bf16Gemm, BitsOfWeightGradientsDoNotDependOnThreads) {
  for (const auto [m, n, k] :
       {Case{64, 64, 1000}, {176, 64, 8192}, {256, 1024, 512}, {300, 290, 2100}}) {
    auto dy = TensorOf<BFloat16>::Random({k, m}, 1), x = TensorOf<BFloat16>::Random({k, n}, 2);
    SameForAnyThreads([&, m = m, n = n](int threads) {
      cpu::Gemm gemm = MakeGemm(threads);
      TestTensor dweight = TestTensor::Random({m, n}, 3);
      Multiply(gemm, {dy.view().Transposed(), x.view(), dweight.view(), true});
      return Results{dweight.values()};
    });
  }
}

INSTANTIATE_TEST_SUITE_P(, Bf16Gemm,
                         ::testing::Values(Bf16Products::kNative, Bf16Products::kWidened),
                         [](const auto& products) {
                           return products.param == Bf16Products::kNative ? "native" : "widened";
                         });

TEST(Bf16Choice, IsOneThatWorks) {
  const cpu::Bf16Choice choice = cpu::ChooseBf16Products();
  EXPECT_TRUE(choice.products == Bf16Products::kWidened || cpu::NativeBf16Works());
  EXPECT_FALSE(choice.reason.empty());
}

}  // namespace
}  // namespace annulus::kernels::testing
