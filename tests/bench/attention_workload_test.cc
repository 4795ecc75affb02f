// Both implementations of the benchmark against the float64 reference, and what they take.
#include "runtime/bench/attention_workload.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "kernels/base/bfloat16.h"
#include "kernels/cpu/cpu_table.h"
#include "tests/reference/attention_reference.h"

namespace annulus::runtime {
namespace {

constexpr BenchMask kMasks[] = {BenchMask::kFull,      BenchMask::kCausal,     BenchMask::kWindow,
                                BenchMask::kDocuments, BenchMask::kLongformer, BenchMask::kBigBird,
                                BenchMask::kStrided};

struct Param {
  AttentionMethod method;
  kernels::DType dtype;
  BenchMask mask;
};

std::vector<Param> Params() {
  std::vector<Param> params;
  for (const AttentionMethod method : {AttentionMethod::kFused, AttentionMethod::kNaive}) {
    for (const kernels::DType dtype : {kernels::DType::kF32, kernels::DType::kBF16}) {
      for (const BenchMask mask : kMasks) params.push_back({method, dtype, mask});
    }
  }
  return params;
}

AttentionCase CaseOf(kernels::DType dtype, BenchMask mask) {
  return {.n = 200,
          .batch = 2,
          .heads = 2,
          .kv_heads = 1,
          .head_dim = 24,
          .dtype = dtype,
          .mask = mask,
          .window = 50};
}

std::vector<float> Values(const kernels::View& view) {
  const auto size = static_cast<size_t>(view.size());
  if (view.dtype == kernels::DType::kF32) {
    const auto* data = view.As<float>();
    return {data, data + size};
  }
  std::vector<float> values(size);
  const auto* data = view.As<kernels::BFloat16>();
  std::transform(data, data + size, values.begin(), kernels::ToFloat);
  return values;
}

// Naive attention in bf16 finds its probabilities rounded when it rounds their gradients, the plain
// one computes them anew: two roundings against one.
int64_t RoundingsOf(const Param& param) {
  const bool twice =
      param.method == AttentionMethod::kNaive && param.dtype == kernels::DType::kBF16;
  return twice ? 2 : 1;
}

struct Result {
  std::string_view name;
  std::vector<float> got;
  const std::vector<double>& truth;
  const std::vector<float>& plain;
};

// Twice the error of a plain implementation that rounds once, and a floor of four roundings of the
// largest value.
void ExpectAccurate(const Result& result, int64_t roundings) {
  ASSERT_EQ(result.got.size(), result.truth.size()) << result.name;
  double error = 0, plain_error = 0, largest = 0;
  for (size_t i = 0; i < result.got.size(); ++i) {
    ASSERT_TRUE(std::isfinite(result.got[i])) << result.name;
    error = std::max(error, std::abs(result.got[i] - result.truth[i]));
    plain_error = std::max(plain_error, std::abs(result.plain[i] - result.truth[i]));
    largest = std::max(largest, std::abs(result.truth[i]));
  }
  EXPECT_LE(error, 2 * static_cast<double>(roundings) * plain_error + largest * 0x1p-22)
      << result.name;
}

class AttentionWorkloadTest : public testing::TestWithParam<Param> {};

TEST_P(AttentionWorkloadTest, IsAsAccurateAsPlainAttention) {
  kernels::CpuTable table(2);
  Arena arena(int64_t{64} << 20);
  kernels::Kernels kernels(table, arena);
  const auto workload =
      NewAttention(GetParam().method, CaseOf(GetParam().dtype, GetParam().mask), {kernels, arena});
  workload->Fill();
  workload->Forward();
  workload->PrepareBackward();
  workload->Backward();

  const AttentionTensors& t = workload->tensors();
  const reference::AttentionInputs inputs{workload->problem(), workload->problem().queries,
                                          Values(t.q), Values(t.k), Values(t.v)};
  const std::vector<float> dout = Values(t.dout);
  EXPECT_EQ(dout, Values(t.out));
  const auto truth = reference::AttentionForward<double>(inputs);
  const auto plain = reference::AttentionForward<float>(inputs);
  const auto gradients = reference::AttentionBackward<double>(inputs, dout);
  const auto plain_gradients = reference::AttentionBackward<float>(inputs, dout);
  const int64_t roundings = RoundingsOf(GetParam());
  ExpectAccurate({"out", Values(t.out), truth.out, plain.out}, 1);
  ExpectAccurate({"dq", Values(t.dq), gradients.dq, plain_gradients.dq}, roundings);
  ExpectAccurate({"dk", Values(t.dk), gradients.dk, plain_gradients.dk}, roundings);
  ExpectAccurate({"dv", Values(t.dv), gradients.dv, plain_gradients.dv}, 1);
}

// What the dry run foresaw is what every round takes.
TEST_P(AttentionWorkloadTest, TakesItsFootprint) {
  kernels::CpuTable table(2);
  AttentionCase shape = CaseOf(GetParam().dtype, GetParam().mask);
  shape.n = 1000;  // so that the square outgrows all else
  const MakeWorkload make = [&](const WorkloadContext& context) {
    return NewAttention(GetParam().method, shape, context);
  };
  Contestant contestant(make, table);
  contestant.Run(Clock::kWall);
  contestant.Run(Clock::kThreadCpu);
  EXPECT_EQ(contestant.peak_bytes(), contestant.footprint().backward_bytes);
  EXPECT_LT(contestant.footprint().forward_bytes, contestant.footprint().backward_bytes);
  const int64_t square = SizeOf(shape.dtype) * shape.batch * shape.heads * shape.n * shape.n;
  EXPECT_EQ(contestant.footprint().forward_bytes > square,
            GetParam().method == AttentionMethod::kNaive);
}

INSTANTIATE_TEST_SUITE_P(, AttentionWorkloadTest, testing::ValuesIn(Params()),
                         [](const auto& param) {
                           return fmt::format("{}_{}_{}", NameOf(param.param.method),
                                              kernels::NameOf(param.param.dtype),
                                              NameOf(param.param.mask));
                         });

TEST(AttentionWorkload, CountsTheFlopsOfAllowedPairs) {
  kernels::CpuTable table(1);
  Arena arena = Arena::Dry();
  kernels::Kernels kernels(table, arena);
  const AttentionCase shape = CaseOf(kernels::DType::kF32, BenchMask::kCausal);
  for (const AttentionMethod method : {AttentionMethod::kFused, AttentionMethod::kNaive}) {
    const auto workload = NewAttention(method, shape, {kernels, arena});
    EXPECT_EQ(workload->forward_flops(), 4 * 24 * 2 * 2 * (200 * 201 / 2));
    EXPECT_EQ(workload->backward_flops(), 10 * 24 * 2 * 2 * (200 * 201 / 2));
  }
}

TEST(BenchMaskTest, DocumentsHaveTheMeanLengthAskedFor) {
  const OwnedMask owned = MakeBenchMask(BenchMask::kDocuments, 100000, 100);
  const std::vector<int64_t>& starts = owned.document_starts;
  EXPECT_EQ(starts.front(), 0);
  EXPECT_TRUE(std::is_sorted(starts.begin(), starts.end()));
  EXPECT_NEAR(100000.0 / static_cast<double>(starts.size()), 100, 10);
}

TEST(BenchMaskTest, SparseMasksAllowFewerPairs) {
  constexpr int64_t kTokens = 4096;
  const auto area = [](BenchMask mask) {
    const OwnedMask owned = MakeBenchMask(mask, kTokens, kTokens / 8);
    return static_cast<double>(AllowedPairs(owned.mask)) / (kTokens * kTokens);
  };
  EXPECT_EQ(area(BenchMask::kFull), 1);
  EXPECT_NEAR(area(BenchMask::kCausal), 0.5, 1e-3);
  EXPECT_NEAR(area(BenchMask::kWindow), 0.125 - 0.125 * 0.125 / 2, 1e-3);
  for (const BenchMask mask :
       {BenchMask::kDocuments, BenchMask::kLongformer, BenchMask::kBigBird, BenchMask::kStrided}) {
    EXPECT_GT(area(mask), 0.02) << NameOf(mask);
    EXPECT_LT(area(mask), 0.2) << NameOf(mask);
  }
}

}  // namespace
}  // namespace annulus::runtime
