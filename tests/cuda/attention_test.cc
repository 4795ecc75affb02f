// Fused attention on a CUDA device against the float64 reference: masks, head sizes, partitions,
// head groups, lengths. Sizes are small and odd: a device that is emulated has to get through.
#include <gtest/gtest.h>

#include <array>
#include <string>
#include <vector>

#include "tests/cuda/attention_device.h"

namespace annulus::kernels::cuda {
namespace {

// A family of kernels by what makes ChooseAttention choose it, with a size of heads.
struct Kind {
  AttentionKernels kernels;
  DType dtype;
  int head_dim;
  int64_t tile;  // queries of a block

  int capability() const { return kernels == AttentionKernels::kHopper ? 90 : 80; }
  std::string name() const {
    return std::string(NameOf(kernels)) + "_" + std::string(NameOf(dtype)) + "_D" +
           std::to_string(head_dim);
  }
};

constexpr Kind kEveryKind[] = {
    {AttentionKernels::kGeneric, DType::kF32, 64, 64},
    {AttentionKernels::kGeneric, DType::kF32, 70, 64},
    {AttentionKernels::kGeneric, DType::kBF16, 19, 64},
    {AttentionKernels::kMma, DType::kBF16, 64, 128},
    {AttentionKernels::kMma, DType::kBF16, 128, 128},
    {AttentionKernels::kMma, DType::kBF16, 40, 128},  // padded to 64
    {AttentionKernels::kHopper, DType::kBF16, 64, 128},
    {AttentionKernels::kHopper, DType::kBF16, 128, 128},
};

class AttentionTest : public testing::TestWithParam<Kind> {
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

INSTANTIATE_TEST_SUITE_P(All, AttentionTest, testing::ValuesIn(kEveryKind),
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
  for (MaskKind mask : AllMaskKinds()) {
    SCOPED_TRACE(NameOf(mask));
    const Positions ranks[] = {Positions({0, 3, 70}), Positions({1, 3, 70}), Positions({2, 3, 70})};
    Expect(MakeCase(Problem(mask, 208, ranks[1]), {ranks[1], ranks[0], ranks[2]}, 12));
  }
}

TEST_P(AttentionTest, ZigzagRing) {
  for (MaskKind mask : AllMaskKinds()) {
    SCOPED_TRACE(NameOf(mask));
    Positions ranks[2];
    for (int rank = 0; rank < 2; ++rank) {
      ranks[rank].Append({rank * 37, 1, 37});
      ranks[rank].Append({(3 - rank) * 37, 1, 37});
    }
    Expect(MakeCase(Problem(mask, 140, ranks[0]), {ranks[1], ranks[0]}, 13));
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
  for (int64_t kv_heads : {1, 2, 6}) {
    SCOPED_TRACE(kv_heads);
    AttentionProblem problem = Problem(MaskKind::kCausal, 43, tokens);
    problem.batch = 2;
    problem.heads = 6;
    problem.kv_heads = kv_heads;
    Expect(MakeCase(problem, {tokens}, 15));
  }
}

TEST_P(AttentionTest, FewQueriesManyKeys) {
  for (int64_t queries : {1, 15, 65}) {
    SCOPED_TRACE(queries);
    Expect(MakeCase(Problem(MaskKind::kCausal, 300, Positions({300 - queries, 1, queries})),
                    {Positions({0, 1, 300})}, 18));
  }
}

// Queries that no key is for have out = 0 and lse = -inf; their gradients are 0.
TEST_P(AttentionTest, RowsWithoutKeys) {
  for (MaskKind mask : AllMaskKinds()) {
    SCOPED_TRACE(NameOf(mask));
    Expect(MakeCase(Problem(mask, 80, Positions({0, 1, 110})), {Positions({35, 1, 20})}, 19));
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
  AttentionProblem problem = Problem(MaskKind::kDocuments, 3000, Positions({2900, 1, 100}));
  problem.mask.document_starts = starts;
  problem.heads = 1;
  Expect(MakeCase(problem, {Positions({2850, 1, 150})}, 27));
}

// Bits do not depend on who runs first.
TEST_P(AttentionTest, SameBitsEveryRun) {
  const Positions tokens({0, 1, 150});
  const AttentionCase c = MakeCase(Problem(MaskKind::kCausal, 150, tokens), {tokens}, 28);
  ExpectSameBits(RunOnDevice(c, GetParam().capability()), RunOnDevice(c, GetParam().capability()));
}

}  // namespace
}  // namespace annulus::kernels::cuda
