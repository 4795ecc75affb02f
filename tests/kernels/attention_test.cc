// Fused attention against the float64 reference: masks, head sizes, partitions, head groups.
#include <gtest/gtest.h>

#include <tuple>

#include "tests/kernels/attention_fixture.h"

namespace annulus::kernels::cpu {
namespace {

class MaskAndHeadTest : public testing::TestWithParam<std::tuple<DType, MaskKind, int>> {};

TEST_P(MaskAndHeadTest, OneBlock) {
  const auto [dtype, kind, head_dim] = GetParam();
  const Positions tokens({0, 1, 133});
  AttentionProblem problem = MakeProblem(MakeMask(kind, 133), tokens, head_dim);
  problem.dtype = dtype;
  // The largest error of a few hundred numbers is a matter of luck, and so is a multiple of it.
  if (head_dim == 1) problem.batch = 8;
  ExpectAccurate(MakeCase(problem, {tokens}, 11));
}

INSTANTIATE_TEST_SUITE_P(All, MaskAndHeadTest,
                         testing::Combine(testing::Values(DType::kF32, DType::kBF16),
                                          testing::ValuesIn(AllMaskKinds()),
                                          testing::Values(1, 17, 32, 64, 80, 128)),
                         [](const auto& test) {
                           return std::string(NameOf(std::get<0>(test.param))) + "_" +
                                  TestName(std::get<1>(test.param)) + "_D" +
                                  std::to_string(std::get<2>(test.param));
                         });

class MaskKindTest : public testing::TestWithParam<MaskKind> {};

// The queries of one rank of a ring of three, with the keys of all three in the ring's order.
TEST_P(MaskKindTest, StripedRing) {
  const Mask mask = MakeMask(GetParam(), 298);
  const Positions ranks[] = {Positions({0, 3, 100}), Positions({1, 3, 100}),
                             Positions({2, 3, 100})};
  for (int rank = 0; rank < 3; ++rank) {
    const AttentionProblem problem = MakeProblem(mask, ranks[rank], 20);
    ExpectAccurate(
        MakeCase(problem, {ranks[rank], ranks[(rank + 2) % 3], ranks[(rank + 1) % 3]}, 12));
  }
}

TEST_P(MaskKindTest, ZigzagRing) {
  const Mask mask = MakeMask(GetParam(), 300);
  Positions ranks[2];
  for (int rank = 0; rank < 2; ++rank) {
    ranks[rank].Append({rank * 77, 1, 77});
    ranks[rank].Append({(3 - rank) * 77, 1, 77});
  }
  for (int rank = 0; rank < 2; ++rank) {
    const AttentionProblem problem = MakeProblem(mask, ranks[rank], 24);
    ExpectAccurate(MakeCase(problem, {ranks[1 - rank], ranks[rank]}, 13));
  }
}

// Blocks out of order, of uneven sizes, one of them empty.
TEST_P(MaskKindTest, ShuffledBlocks) {
  const Mask mask = MakeMask(GetParam(), 333);
  const AttentionProblem problem = MakeProblem(mask, Positions({50, 1, 200}), 16);
  ExpectAccurate(MakeCase(
      problem,
      {Positions({200, 1, 101}), Positions({0, 1, 7}), Positions(), Positions({7, 1, 193})}, 14));
}

INSTANTIATE_TEST_SUITE_P(All, MaskKindTest, testing::ValuesIn(AllMaskKinds()),
                         [](const auto& test) { return TestName(test.param); });

TEST(AttentionTest, HeadGroups) {
  const Positions tokens({0, 1, 91});
  for (int64_t kv_heads : {1, 2, 6}) {
    AttentionProblem problem = MakeProblem(MakeMask(MaskKind::kCausal, 91), tokens, 12);
    problem.batch = 3;
    problem.heads = 6;
    problem.kv_heads = kv_heads;
    SCOPED_TRACE(kv_heads);
    ExpectAccurate(MakeCase(problem, {tokens}, 15));
  }
}

// Several tiles of keys, so that threads wait for one another's dQ.
TEST(AttentionTest, ManyKeyTiles) {
  for (MaskKind kind : {MaskKind::kFull, MaskKind::kCausal, MaskKind::kWindow}) {
    const Positions tokens({0, 1, 1100});
    AttentionProblem problem = MakeProblem(MakeMask(kind, 1100), tokens, 8);
    problem.heads = 1;
    ExpectAccurate(MakeCase(problem, {tokens}, 16));
  }
}

TEST(AttentionTest, LargeHeads) {
  const Positions tokens({0, 1, 70});
  for (int64_t head_dim : {96, 200, 256}) {
    ExpectAccurate(
        MakeCase(MakeProblem(MakeMask(MaskKind::kCausal, 70), tokens, head_dim), {tokens}, 17));
  }
}

TEST(AttentionTest, FewQueriesManyKeys) {
  for (int64_t queries : {1, 2, 15, 63, 64, 65}) {
    const AttentionProblem problem =
        MakeProblem(MakeMask(MaskKind::kCausal, 400), Positions({400 - queries, 1, queries}), 16);
    ExpectAccurate(MakeCase(problem, {Positions({0, 1, 400})}, 18));
  }
}

}  // namespace
}  // namespace annulus::kernels::cpu
