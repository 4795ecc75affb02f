// Fused attention on a CUDA device against the float64 reference: masks, head sizes, partitions,
// head groups, lengths. Sizes are small and odd: a device that is emulated has to get through.
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <vector>

#include "kernels/cuda/attention/state.h"
#include "tests/cuda/attention_device.h"

namespace annulus::kernels::cuda {
namespace {

class AttentionTest : public testing::TestWithParam<AttentionKind> {
 protected:
  AttentionProblem Problem(MaskKind mask, int64_t length, const Positions& queries) const {
    AttentionProblem problem = MakeProblem(MakeMask(mask, length), queries, GetParam().head_dim);
    problem.dtype = GetParam().dtype;
    return problem;
  }
  void Expect(const AttentionCase& c, const Tolerance& tolerance = {}) const {
    const int capability = GetParam().capability();
    if (c.inputs.problem.mask.kind != MaskKind::kBlockSparse) {
      ASSERT_EQ(ChooseAttention(c.inputs.problem, capability), GetParam().kernels);
    }
    ExpectAccurateOnDevice(c, capability, tolerance);
  }
};

INSTANTIATE_TEST_SUITE_P(All, AttentionTest, testing::ValuesIn(kEveryAttention),
                         [](const auto& test) { return test.param.name(); });

// A tile and a bit, and a tile of keys and a bit.
TEST_P(AttentionTest, EveryMaskOverOneBlock) {
  for (MaskKind mask : AllMaskKinds()) {
    SCOPED_TRACE(NameOf(mask));
    const Positions tokens({0, 1, GetParam().tile + 5});
    Expect(MakeCase(Problem(mask, GetParam().tile + 3, tokens), {tokens}, 11));
  }
}

// The queries of one rank of a ring of three, with the keys of all three in the ring's order.
TEST_P(AttentionTest, StripedRing) {
  for (MaskKind mask : {MaskKind::kWindow, MaskKind::kBlockSparse}) {
    SCOPED_TRACE(NameOf(mask));
    const Positions ranks[] = {Positions({0, 3, 70}), Positions({1, 3, 70}), Positions({2, 3, 70})};
    Expect(MakeCase(Problem(mask, 208, ranks[1]), {ranks[1], ranks[0], ranks[2]}, 12));
  }
}

// Without padding, some queries see all keys of a tile that the next run's keys lie behind.
TEST_P(AttentionTest, ZigzagRing) {
  Positions ranks[2];
  for (int rank = 0; rank < 2; ++rank) {
    ranks[rank].Append({rank * 37, 1, 37});
    ranks[rank].Append({(3 - rank) * 37, 1, 37});
  }
  const std::pair<MaskKind, int64_t> cases[] = {
      {MaskKind::kCausal, 140}, {MaskKind::kCausal, 148}, {MaskKind::kDocuments, 140}};
  for (const auto& [mask, length] : cases) {
    SCOPED_TRACE(fmt::format("{} over {}", NameOf(mask), length));
    Expect(MakeCase(Problem(mask, length, ranks[0]), {ranks[1], ranks[0]}, 13));
  }
}

// Blocks out of order, of uneven sizes, one of them empty; gradients start from what is there.
TEST_P(AttentionTest, ShuffledBlocks) {
  const Positions queries({50, 1, 90});
  AttentionCase c = MakeCase(
      Problem(MaskKind::kWindow, 183, queries),
      {Positions({100, 1, 51}), Positions({0, 1, 7}), Positions(), Positions({7, 1, 93})}, 14);
  c.gradient_start = 2;
  Expect(c);
}

TEST_P(AttentionTest, HeadGroups) {
  const Positions tokens({0, 1, 43});
  for (int64_t kv_heads : {1, 2}) {
    SCOPED_TRACE(kv_heads);
    AttentionProblem problem = Problem(MaskKind::kCausal, 43, tokens);
    problem.batch = 2;
    problem.heads = 4;
    problem.kv_heads = kv_heads;
    Expect(MakeCase(problem, {tokens}, 15));
  }
}

TEST_P(AttentionTest, FewQueriesManyKeys) {
  for (int64_t queries : {1, 17}) {
    SCOPED_TRACE(queries);
    Expect(MakeCase(Problem(MaskKind::kCausal, 270, Positions({270 - queries, 1, queries})),
                    {Positions({0, 1, 270})}, 18));
  }
}

// Queries that no key is for have out = 0 and lse = -inf; their gradients are 0.
TEST_P(AttentionTest, RowsWithoutKeys) {
  for (MaskKind mask : {MaskKind::kFull, MaskKind::kWindow}) {
    SCOPED_TRACE(NameOf(mask));
    Expect(MakeCase(Problem(mask, 80, Positions({0, 1, 110})), {Positions({35, 1, 20})}, 19));
  }
}

// The last fold finishes what it adds nothing to, whole tiles as well: its block is after every
// query, or padding, or empty.
TEST_P(AttentionTest, LastBlockAddsNothing) {
  for (const Positions& last : {Positions({140, 1, 30}), Positions({180, 1, 9}), Positions()}) {
    SCOPED_TRACE(last.tokens());
    Expect(MakeCase(Problem(MaskKind::kCausal, 180, Positions({0, 1, 140})),
                    {Positions({70, 1, 70}), last}, 32));
  }
}

TEST_P(AttentionTest, NothingToDo) {
  const AttentionProblem problem = Problem(MaskKind::kFull, 40, Positions({0, 1, 40}));
  for (const auto& blocks : {std::vector<Positions>{}, std::vector<Positions>{Positions()}}) {
    const AttentionResult r = RunOnDevice(MakeCase(problem, blocks, 25), GetParam().capability());
    for (float x : r.output.out) EXPECT_EQ(x, 0);
    for (float x : r.output.lse) EXPECT_EQ(x, -std::numeric_limits<float>::infinity());
    for (float x : r.gradients.dq) EXPECT_EQ(x, 0);
  }
  const AttentionResult none =
      RunOnDevice(MakeCase(Problem(MaskKind::kFull, 40, Positions()), {Positions({0, 1, 40})}, 26),
                  GetParam().capability());
  EXPECT_TRUE(none.output.out.empty());
  for (float x : none.gradients.dk) EXPECT_EQ(x, 0);
}

// More documents than one launch tells of.
TEST_P(AttentionTest, ManyDocuments) {
  std::vector<int64_t> starts;
  for (int64_t i = 0; i < 1000; ++i) starts.push_back(3 * i);
  AttentionProblem problem = Problem(MaskKind::kDocuments, 3000, Positions({2950, 1, 50}));
  problem.mask.document_starts = starts;
  problem.heads = 1;
  Expect(MakeCase(problem, {Positions({2930, 1, 70})}, 27));
}

class TensorCoreAttentionTest : public AttentionTest {
 public:
  static std::vector<AttentionKind> Kinds() {
    std::vector<AttentionKind> kinds;
    for (const AttentionKind& kind : kEveryAttention) {
      if (kind.kernels != AttentionKernels::kGeneric) kinds.push_back(kind);
    }
    return kinds;
  }
};

INSTANTIATE_TEST_SUITE_P(All, TensorCoreAttentionTest,
                         testing::ValuesIn(TensorCoreAttentionTest::Kinds()),
                         [](const auto& test) { return test.param.name(); });

// Outputs live in registers: an only fold takes them nowhere but to the output.
TEST_P(TensorCoreAttentionTest, AnOnlyFoldLeavesOutputsOfTheStateAlone) {
  const Positions tokens({0, 1, GetParam().tile + 5});
  const AttentionProblem problem = Problem(MaskKind::kWindow, GetParam().tile + 3, tokens);
  std::vector<std::byte> state =
      RunOnDevice(MakeCase(problem, {tokens}, 33), GetParam().capability()).state;
  const auto* outputs = reinterpret_cast<const std::byte*>(ForwardState(problem, state.data()).out);
  const int64_t bytes = AllRows(problem) * problem.head_dim * SizeOf(DType::kF32);
  EXPECT_EQ(std::count(outputs, outputs + bytes, std::byte{kPoison}), bytes);
}

// Gradients against central differences of the float64 forward pass.
TEST(AttentionDifferencesTest, GradientsAreDifferencesOfTheForwardPass) {
  Mask mask = MakeMask(MaskKind::kCausal, 8);
  AttentionProblem problem = MakeProblem(mask, Positions({2, 1, 6}), 3);
  AttentionCase c = MakeCase(problem, {Positions({0, 1, 4}), Positions({4, 1, 4})}, 31);
  const auto gradients = RunOnDevice(c, 80).gradients;
  const auto loss = [&] {
    const auto out = reference::AttentionForward<double>(c.inputs).out;
    double sum = 0;
    for (size_t i = 0; i < out.size(); ++i) sum += out[i] * c.dout[i];
    return sum;
  };
  const auto expect = [&](std::vector<float>& x, const std::vector<float>& dx) {
    for (size_t i = 0; i < x.size(); ++i) {
      const float at = x[i], high = at + 0x1p-8f, low = at - 0x1p-8f;
      x[i] = high;
      const double up = loss();
      x[i] = low;
      const double down = loss();
      x[i] = at;
      EXPECT_NEAR((up - down) / (double{high} - double{low}), dx[i], 1e-4);
    }
  };
  expect(c.inputs.q, gradients.dq);
  expect(c.inputs.k, gradients.dk);
  expect(c.inputs.v, gradients.dv);
}

}  // namespace
}  // namespace annulus::kernels::cuda
