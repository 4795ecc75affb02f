// Both implementations of the benchmark against the float64 reference, and what they take.
#include "runtime/bench/attention_workload.h"

#include <gtest/gtest.h>

#include <cmath>

#include "kernels/cpu/cpu_table.h"
#include "tests/kernels/test_tensor.h"
#include "tests/reference/attention_reference.h"

namespace annulus::runtime {
namespace {

constexpr BenchMask kMasks[] = {BenchMask::kFull,      BenchMask::kCausal,     BenchMask::kWindow,
                                BenchMask::kDocuments, BenchMask::kLongformer, BenchMask::kBigBird,
                                BenchMask::kStrided};

struct Param {
  AttentionMethod method;
  BenchMask mask;
};

std::vector<Param> Params() {
  std::vector<Param> params;
  for (const AttentionMethod method : {AttentionMethod::kFused, AttentionMethod::kNaive}) {
    for (const BenchMask mask : kMasks) params.push_back({method, mask});
  }
  return params;
}

AttentionCase CaseOfMask(BenchMask mask) {
  return {
      .n = 300, .batch = 2, .heads = 4, .kv_heads = 2, .head_dim = 24, .mask = mask, .window = 50};
}

std::vector<float> Values(const kernels::View& view) {
  const auto* data = view.As<float>();
  return {data, data + view.size()};
}

class AttentionWorkloadTest : public testing::TestWithParam<Param> {};

TEST_P(AttentionWorkloadTest, IsAsAccurateAsPlainAttention) {
  kernels::CpuTable table(2);
  Arena arena(int64_t{64} << 20);
  kernels::Kernels kernels(table, arena);
  const auto workload =
      NewAttention(GetParam().method, CaseOfMask(GetParam().mask), {kernels, arena});
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
  using kernels::testing::ExpectAsGoodAsPlain;
  ExpectAsGoodAsPlain(Values(t.out), truth.out, plain.out, "out");
  ExpectAsGoodAsPlain(Values(t.dq), gradients.dq, plain_gradients.dq, "dq");
  ExpectAsGoodAsPlain(Values(t.dk), gradients.dk, plain_gradients.dk, "dk");
  ExpectAsGoodAsPlain(Values(t.dv), gradients.dv, plain_gradients.dv, "dv");
}

// What the dry run foresaw is what every round takes.
TEST_P(AttentionWorkloadTest, TakesItsFootprint) {
  kernels::CpuTable table(2);
  const AttentionCase shape = CaseOfMask(GetParam().mask);
  const MakeWorkload make = [&](const WorkloadContext& context) {
    return NewAttention(GetParam().method, shape, context);
  };
  Contestant contestant(make, table);
  contestant.Run(Clock::kWall);
  contestant.Run(Clock::kThreadCpu);
  EXPECT_EQ(contestant.peak_bytes(), contestant.footprint().backward_bytes);
  EXPECT_LT(contestant.footprint().forward_bytes, contestant.footprint().backward_bytes);
  const int64_t square = 4 * shape.batch * shape.heads * shape.n * shape.n;
  EXPECT_EQ(contestant.footprint().forward_bytes > square,
            GetParam().method == AttentionMethod::kNaive);
}

INSTANTIATE_TEST_SUITE_P(, AttentionWorkloadTest, testing::ValuesIn(Params()),
                         [](const auto& param) {
                           return fmt::format("{}_{}", NameOf(param.param.method),
                                              NameOf(param.param.mask));
                         });

TEST(AttentionWorkload, CountsTheFlopsOfAllowedPairs) {
  kernels::CpuTable table(1);
  Arena arena = Arena::Dry();
  kernels::Kernels kernels(table, arena);
  const AttentionCase shape = CaseOfMask(BenchMask::kCausal);
  for (const AttentionMethod method : {AttentionMethod::kFused, AttentionMethod::kNaive}) {
    const auto workload = NewAttention(method, shape, {kernels, arena});
    EXPECT_EQ(workload->forward_flops(), 4 * 24 * 2 * 4 * (300 * 301 / 2));
    EXPECT_EQ(workload->backward_flops(), 10 * 24 * 2 * 4 * (300 * 301 / 2));
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
