// Matrix products as the kernel table offers them, on every device.
#include <array>

#include "tests/kernels/every_device.h"
#include "tests/kernels/operand.h"
#include "tests/reference/layer_reference.h"

namespace annulus::kernels::testing {
namespace {

void Multiply(KernelTable& table, const MatMulArgs& args) {
  const Scratch scratch(table.MatMulScratchBytes(args));
  table.MatMul(args, scratch.view());
}

struct Case {
  int64_t m, n, k;
};

constexpr Case kCases[] = {{1, 1, 1},    {1, 17, 64},  {17, 1, 3},    {3, 5, 1},
                           {63, 65, 17}, {64, 64, 64}, {100, 72, 64}, {65, 33, 257}};

// c [M,N] of Result from a and b of Factor. Layouts are bits: a, b, c transposed, accumulate.
template <class Factor, class Result>
void ExpectMatchesReference(const Case& extents, unsigned layout) {
  const auto [m, n, k] = extents;
  const bool accumulate = (layout & 8) != 0;
  SCOPED_TRACE(fmt::format("{} x {} x {} of {} into {}, layout {}", m, n, k,
                           NameOf(DTypeOf<Factor>::value), NameOf(DTypeOf<Result>::value), layout));
  OperandOf<Factor> a(m, k, (layout & 1) != 0, 1), b(k, n, (layout & 2) != 0, 2);
  OperandOf<Result> c(m, n, (layout & 4) != 0, 3);
  auto truth =
      reference::MatMul<double>(a.template Elements<double>(), b.template Elements<double>(), k);
  auto plain =
      reference::MatMul<float>(a.template Elements<float>(), b.template Elements<float>(), k);
  if (accumulate) {
    const auto before = c.template Elements<double>();
    for (size_t i = 0; i < truth.size(); ++i) {
      truth[i] += before[i];
      plain[i] += static_cast<float>(before[i]);
    }
  } else {
    c.tensor = TensorOf<Result>({c.tensor.view().dim(0), c.tensor.view().dim(1)});
  }
  Multiply(Table(2), {a.view(), b.view(), c.view(), accumulate});
  ExpectAsGoodAsPlain(c.template Elements<float>(), truth, RoundedTo<Result>(plain), "c");
}

class Products : public EveryDevice {};

TEST_P(Products, MatchTheReferenceInEveryLayout) {
  for (const Case& extents : kCases) {
    for (unsigned layout = 0; layout < 16; ++layout) {
      ExpectMatchesReference<float, float>(extents, layout);
      ExpectMatchesReference<BFloat16, BFloat16>(extents, layout);
      ExpectMatchesReference<BFloat16, float>(extents, layout);
    }
  }
}

// Columns of a wider matrix, as of a fused projection; what lies beside them is not touched.
TEST_P(Products, ReadAndWriteColumnSlices) {
  TestTensor wide = TestTensor::Random({50, 100}, 1), b = TestTensor::Random({30, 20}, 2);
  TestTensor wide_c = TestTensor::Random({50, 60}, 3);
  const std::vector<float> before = wide_c.values();
  TestTensor a({50, 30}), c({50, 20});
  for (size_t i = 0; i < 50 * 30; ++i) a.values()[i] = wide.values()[i / 30 * 100 + 40 + i % 30];
  Multiply(Table(2), {a.view(), b.view(), c.view()});
  Multiply(Table(2), {wide.view().Slice(1, 40, 30), b.view(), wide_c.view().Slice(1, 10, 20)});
  for (size_t i = 0; i < 50 * 60; ++i) {
    const size_t row = i / 60, column = i % 60;
    const bool written = column >= 10 && column < 30;
    const float expected = written ? c.values()[row * 20 + column - 10] : before[i];
    ASSERT_NEAR(wide_c.values()[i], expected, written ? 1e-5 : 0) << row << ", " << column;
  }
}

// A row alone may carry any stride: it is never taken.
TEST_P(Products, TakeSingleRowsOfAnyStride) {
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
    Multiply(Table(2), {with_stride(a.view(), stride), b.view(), with_stride(c.view(), stride)});
    ExpectAsGoodAsPlain(c.values(), truth, plain, "a and c");
    TestTensor product({30, 20});
    Multiply(Table(2), {a.view().Transposed(), with_stride(outer.view(), stride), product.view()});
    EXPECT_EQ(product.values()[20], a.values()[1] * outer.values()[0]);
    TestTensor turned({1, 20});
    Multiply(Table(2), {b.view().Transposed(), with_stride(a.view(), stride).Transposed(),
                        with_stride(turned.view(), stride).Transposed()});
    ExpectAsGoodAsPlain(turned.values(), truth, plain, "transposed a and c");
  }
}

TEST_P(Products, SumOverNothingIsZero) {
  float nothing = 0;
  const View a(&nothing, DType::kF32, {5, 0}), b(&nothing, DType::kF32, {0, 7});
  TestTensor c({5, 7});
  Multiply(Table(1), {a, b, c.view()});
  EXPECT_EQ(c.values(), std::vector<float>(35, 0.0f));
  TestTensor kept = TestTensor::Random({5, 7}, 1);
  const std::vector<float> before = kept.values();
  Multiply(Table(1), {a, b, kept.view(), true});
  EXPECT_EQ(kept.values(), before);
  // Of a part of a matrix, the part alone.
  Multiply(Table(1), {a, b.Slice(1, 0, 3), kept.view().Slice(1, 2, 3)});
  for (size_t i = 0; i < 35; ++i) {
    EXPECT_EQ(kept.values()[i], i % 7 >= 2 && i % 7 < 5 ? 0 : before[i]) << i;
  }
}

TEST_P(Products, NothingIsDoneWithoutRows) {
  float nothing = 0;
  TestTensor b = TestTensor::Random({5, 7}, 1);
  const View none(&nothing, DType::kF32, {0, 5}), c(&nothing, DType::kF32, {0, 7});
  EXPECT_EQ(Table(1).MatMulScratchBytes({none, b.view(), c}), 0);
  Multiply(Table(1), {none, b.view(), c});
}

// A sum is rounded to bf16 once, at its end: 2048 ones stay countable beyond 256, where a bf16 sum
// would stop.
TEST_P(Products, RoundSumsToBFloat16Once) {
  constexpr int64_t kTerms = 2048 + 3;
  for (bool transposed : {false, true}) {
    OperandOf<BFloat16> a(3, kTerms, transposed, 1), b(kTerms, 5, false, 2);
    std::fill(a.tensor.values().begin(), a.tensor.values().end(), ToBFloat16(1));
    std::fill(b.tensor.values().begin(), b.tensor.values().end(), ToBFloat16(1));
    TensorOf<BFloat16> c({3, 5});
    Multiply(Table(2), {a.view(), b.view(), c.view()});
    for (const BFloat16& value : c.values()) EXPECT_EQ(ToFloat(value), 2048);
    Multiply(Table(2), {a.view(), b.view(), c.view(), true});
    for (const BFloat16& value : c.values()) EXPECT_EQ(ToFloat(value), 4096);
  }
}

// A plan asks for the scratch of products far larger than this machine's memory.
TEST_P(Products, PlanWithoutMemory) {
  const View x(nullptr, DType::kBF16, {1 << 24, 4096});
  const View weight(nullptr, DType::kBF16, {14336, 4096});
  const View y(nullptr, DType::kBF16, {1 << 24, 14336});
  EXPECT_LE(Table(2).MatMulScratchBytes({x, weight.Transposed(), y}), (33 << 20));
}

TEST_P(Products, RefuseScratchThatIsTooSmall) {
  TestTensor a = TestTensor::Random({64, 1024}, 1), b = TestTensor::Random({64, 256}, 2);
  TestTensor c({1024, 256});
  const MatMulArgs args{a.view().Transposed(), b.view(), c.view()};
  if (Table(2).MatMulScratchBytes(args) == 0) GTEST_SKIP() << "needs none";
  EXPECT_THROW(Table(2).MatMul(args, View(nullptr, DType::kByte, {0})), InternalError);
}

INSTANTIATE_TEST_SUITE_P(, Products, ::testing::ValuesIn(DevicesWithProducts()),
                         [](const auto& device) { return device.param->Name(); });

}  // namespace
}  // namespace annulus::kernels::testing
