// Fused attention where arithmetic is easily got wrong: masked rows, padding, huge logits, nothing.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <thread>

#include "tests/kernels/attention_fixture.h"

namespace annulus::kernels::cpu {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

void ExpectNoNaN(const std::vector<float>& values) {
  for (float x : values) ASSERT_FALSE(std::isnan(x));
}

// Queries before every key of their only block, and padding past the length.
TEST(AttentionEdgeTest, MaskedRowsAreZero) {
  const Mask mask = MakeMask(MaskKind::kCausal, 120);
  const AttentionProblem problem = MakeProblem(mask, Positions({0, 1, 140}), 18);
  const AttentionCase c = MakeCase(problem, {Positions({50, 1, 90})}, 21);
  ExpectAccurate(c);
  for (const TileKernels* tiles : RunnableTileKernels(DType::kF32)) {
    const AttentionResult result = RunFused(c, *tiles, 1);
    const int64_t row = problem.heads * problem.head_dim;
    for (int64_t t = 0; t < 140; ++t) {
      if (t >= 50 && t < 120) continue;
      for (int64_t i = t * row; i < (t + 1) * row; ++i) {
        ASSERT_EQ(result.output.out[static_cast<size_t>(i)], 0.0f);
        ASSERT_EQ(result.gradients.dq[static_cast<size_t>(i)], 0.0f);
      }
      for (int64_t h = 0; h < problem.heads; ++h) {
        ASSERT_EQ(result.output.lse[static_cast<size_t>(h * 140 + t)], -kInfinity);
      }
    }
    for (int64_t i = 70 * problem.head_dim; i < 90 * problem.head_dim; ++i) {
      ASSERT_EQ(result.gradients.dk[static_cast<size_t>(i)], 0.0f);  // padding keys
      ASSERT_EQ(result.gradients.dv[static_cast<size_t>(i)], 0.0f);
    }
  }
}

// What padding holds must not matter, be it as large as floats go.
TEST(AttentionEdgeTest, PaddingIsNeverRead) {
  const Mask mask = MakeMask(MaskKind::kFull, 100);
  const Positions tokens({0, 1, 130});
  AttentionCase c = MakeCase(MakeProblem(mask, tokens, 10), {tokens}, 22);
  AttentionCase other = c;
  const auto fill = [&](std::vector<float>& x, int64_t row) {
    std::fill(x.begin() + 100 * row, x.end(), 1e15f);
  };
  fill(other.inputs.q, 20);
  fill(other.inputs.k, 10);
  fill(other.inputs.v, 10);
  for (const TileKernels* tiles : RunnableTileKernels(DType::kF32)) {
    const AttentionResult a = RunFused(c, *tiles, 1), b = RunFused(other, *tiles, 1);
    EXPECT_EQ(a.output.out, b.output.out);
    EXPECT_EQ(a.output.lse, b.output.lse);
    EXPECT_EQ(a.gradients.dq, b.gradients.dq);
    EXPECT_EQ(a.gradients.dk, b.gradients.dk);
    EXPECT_EQ(a.gradients.dv, b.gradients.dv);
  }
}

TEST(AttentionEdgeTest, LogitsOfTenThousand) {
  const Positions tokens({0, 1, 150});
  for (MaskKind kind : {MaskKind::kFull, MaskKind::kCausal}) {
    AttentionProblem problem = MakeProblem(MakeMask(kind, 150), tokens, 16);
    problem.scale = 1;
    AttentionCase c = MakeCase(problem, {Positions({75, 1, 75}), Positions({0, 1, 75})}, 23);
    for (float& x : c.inputs.q) x *= 25;
    for (float& x : c.inputs.k) x *= 25;
    float largest = 0;
    for (float lse : reference::AttentionForward<float>(c.inputs).lse)
      largest = std::max(largest, lse);
    ASSERT_GT(largest, 1e4f);
    ExpectAccurate(c);
  }
}

// Three plateaus of keys, each thousands above the one before: the reference moves far, and what
// was folded before it moved vanishes.
TEST(AttentionEdgeTest, ReferenceMovesFar) {
  const Positions tokens({0, 1, 600});
  AttentionProblem problem = MakeProblem(MakeMask(MaskKind::kFull, 600), tokens, 4);
  problem.scale = 1;
  AttentionCase c = MakeCase(problem, {tokens}, 24);
  for (float& x : c.inputs.q) x = 1 + x / 1024;
  for (size_t i = 0; i < c.inputs.k.size(); ++i) {
    c.inputs.k[i] += static_cast<float>(i / 800) * 500;
  }
  ExpectAccurate(c);
}

// Equal logits in hundreds of spans of two keys, for every other block has no query: the reference
// never moves after the first span, so no fold may change what the ones before it have summed.
TEST(AttentionEdgeTest, ManyFoldsDoNotDrift) {
  Mask mask = MakeMask(MaskKind::kBlockSparse, 1200);
  mask.blocks = {.block_tokens = 2, .window_blocks = 1, .stride_blocks = 2};
  AttentionCase c =
      MakeCase(MakeProblem(mask, Positions({0, 4, 300}), 4), {Positions({0, 1, 1200})}, 29);
  std::fill(c.inputs.q.begin(), c.inputs.q.end(), 0.0f);
  ExpectAccurate(c);
}

// The last fold finishes what it adds nothing to, whole strips and tasks as well: its block is
// after every query, or padding, or empty.
TEST(AttentionEdgeTest, LastBlockAddsNothing) {
  const Mask mask = MakeMask(MaskKind::kCausal, 200);
  for (const Positions& last : {Positions({150, 1, 30}), Positions({200, 1, 9}), Positions()}) {
    SCOPED_TRACE(last.tokens());
    ExpectAccurate(MakeCase(MakeProblem(mask, Positions({0, 1, 150}), 18),
                            {Positions({100, 1, 50}), last}, 32));
  }
}

TEST(AttentionEdgeTest, NoKeys) {
  const AttentionProblem problem =
      MakeProblem(MakeMask(MaskKind::kFull, 40), Positions({0, 1, 40}), 8);
  for (const TileKernels* tiles : RunnableTileKernels(DType::kF32)) {
    for (const auto& blocks : {std::vector<Positions>{}, std::vector<Positions>{Positions()}}) {
      const AttentionResult result = RunFused(MakeCase(problem, blocks, 25), *tiles, 2);
      for (float x : result.output.out) EXPECT_EQ(x, 0.0f);
      for (float x : result.output.lse) EXPECT_EQ(x, -kInfinity);
      for (float x : result.gradients.dq) EXPECT_EQ(x, 0.0f);
    }
  }
}

TEST(AttentionEdgeTest, NoQueries) {
  const AttentionProblem problem = MakeProblem(MakeMask(MaskKind::kFull, 40), Positions(), 8);
  for (const TileKernels* tiles : RunnableTileKernels(DType::kF32)) {
    const AttentionResult result =
        RunFused(MakeCase(problem, {Positions({0, 1, 40})}, 26), *tiles, 2);
    for (float x : result.gradients.dk) EXPECT_EQ(x, 0.0f);
    for (float x : result.gradients.dv) EXPECT_EQ(x, 0.0f);
  }
}

TEST(AttentionEdgeTest, ZeroInputs) {
  const Positions tokens({0, 1, 100});
  AttentionCase c =
      MakeCase(MakeProblem(MakeMask(MaskKind::kCausal, 100), tokens, 32), {tokens}, 27);
  std::fill(c.inputs.q.begin(), c.inputs.q.end(), 0.0f);
  std::fill(c.inputs.v.begin(), c.inputs.v.end(), 0.0f);
  for (const TileKernels* tiles : RunnableTileKernels(DType::kF32)) {
    const AttentionResult result = RunFused(c, *tiles, 1);
    ExpectNoNaN(result.output.lse);
    for (float x : result.output.out) EXPECT_EQ(x, 0.0f);
    for (size_t t = 0; t < 100; ++t) {
      EXPECT_NEAR(result.output.lse[t], std::log(static_cast<double>(t + 1)), 1e-6 * (5 + 1));
    }
  }
}

TEST(AttentionEdgeTest, GradientsOfKeysAccumulate) {
  const Positions tokens({0, 1, 80});
  AttentionCase c = MakeCase(MakeProblem(MakeMask(MaskKind::kCausal, 80), tokens, 8), {tokens}, 28);
  c.gradient_start = 0.5f;
  ExpectAccurate(c);
}

// Now and then is often, on the thread that calls, in the floating-point mode that it had, and
// changes nothing.
TEST(AttentionEdgeTest, CallsMeanwhileOnItsCaller) {
  const Positions tokens({0, 1, 900});
  AttentionCase c = MakeCase(MakeProblem(MakeMask(MaskKind::kFull, 900), tokens, 64), {tokens}, 31);
  const AttentionProblem& p = c.inputs.problem;
  const int64_t flops = (2 * 4 + 10) * p.batch * p.heads * p.head_dim * 900 * 900;
  const volatile float least = std::numeric_limits<float>::min();
  for (const TileKernels* tiles : RunnableTileKernels(DType::kF32)) {
    const AttentionResult alone = RunFused(c, *tiles, 1);
    for (int threads : {1, 3}) {
      AttentionCase watched = c;
      int64_t calls = 0;
      watched.meanwhile = [&, caller = std::this_thread::get_id()] {
        ++calls;
        EXPECT_EQ(std::this_thread::get_id(), caller);
        EXPECT_GT(least / 2, 0);
      };
      const AttentionResult result = RunFused(watched, *tiles, threads);
      if (threads == 1) {
        EXPECT_GE(calls, flops / 30'000'000) << tiles->isa;
      }
      EXPECT_EQ(result.output.out, alone.output.out);
      EXPECT_EQ(result.gradients.dk, alone.gradients.dk);
    }
  }
}

}  // namespace
}  // namespace annulus::kernels::cpu
