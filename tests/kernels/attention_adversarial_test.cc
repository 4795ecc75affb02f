// Fused attention on inputs made to break it, in both dtypes: where the running reference is late,
// far off or not there at all.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "tests/kernels/attention_fixture.h"

namespace annulus::kernels::cpu {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr int64_t kDim = 32;

class AttentionAdversarialTest : public testing::TestWithParam<DType> {
 protected:
  // 2 query heads on 1 key/value head, scale 1, random values.
  AttentionCase Make(const Mask& mask, const Positions& queries,
                     const std::vector<Positions>& blocks) const {
    AttentionProblem problem = MakeProblem(mask, queries, kDim);
    problem.dtype = GetParam();
    problem.scale = 1;
    return MakeCase(problem, blocks, 31);
  }
  // Two strips of queries and all of 300 keys, in four blocks: the reference meets each of them
  // anew.
  AttentionCase Full() const {
    return Make(MakeMask(MaskKind::kFull, 300), Positions({0, 1, 70}),
                {Positions({0, 1, 75}), Positions({75, 1, 75}), Positions({150, 1, 75}),
                 Positions({225, 1, 75})});
  }

  static void Expect(const AttentionCase& c) {
    // Gradients come from the output as stored: each of its elements is rounded to bf16 on its own.
    const double rounding = c.inputs.problem.dtype == DType::kBF16
                                ? std::ldexp(1.0, -9) / std::sqrt(double{kDim})
                                : 4 * double{std::numeric_limits<float>::epsilon()};
    ExpectAccurate(c, {.terms = rounding});
  }

  // Makes the logit of every query with key s `logit(s)`: queries are 1 in the first feature and
  // keys hold the logit there.
  template <class Logit>
  void SetLogits(AttentionCase* c, const Logit& logit) const {
    SetFeatures(&c->inputs.q, [](int64_t) { return 1.0f; });
    SetFeatures(&c->inputs.k, logit);
    reference::RoundTo(GetParam(), &c->inputs.k);
  }

  static void Scale(std::vector<float>* values, float factor, DType dtype) {
    for (float& x : *values) x *= factor;
    reference::RoundTo(dtype, values);
  }

  // No output but a masked row's lse is anything but finite.
  static void ExpectFinite(const AttentionCase& c) {
    for (const TileKernels* tiles : RunnableTileKernels(c.inputs.problem.dtype)) {
      SCOPED_TRACE(tiles->isa);
      const AttentionResult r = RunFused(c, *tiles, 2);
      for (const auto* values :
           {&r.output.out, &r.gradients.dq, &r.gradients.dk, &r.gradients.dv}) {
        for (float x : *values) ASSERT_TRUE(std::isfinite(x)) << x;
      }
      for (float x : r.output.lse) ASSERT_TRUE(std::isfinite(x) || x == -kInfinity) << x;
    }
  }

 private:
  template <class Value>
  static void SetFeatures(std::vector<float>* rows, const Value& value) {
    for (size_t i = 0; i < rows->size(); ++i) {
      const auto row = static_cast<int64_t>(i) / kDim;
      (*rows)[i] = i % kDim == 0 ? value(row) : 0.0f;
    }
  }
};

TEST_P(AttentionAdversarialTest, LogitsOfTenThousandOfBothSigns) {
  for (MaskKind kind : AllMaskKinds()) {
    SCOPED_TRACE(NameOf(kind));
    const Positions all({0, 1, 151});
    AttentionCase c = Make(MakeMask(kind, 151), all, {all});
    Scale(&c.inputs.q, 22, GetParam());
    Scale(&c.inputs.k, 22, GetParam());
    const std::vector<float> lse = reference::AttentionForward<float>(c.inputs).lse;
    ASSERT_GT(*std::max_element(lse.begin(), lse.end()), 1e4f / 2);
    Expect(c);
  }
}

TEST_P(AttentionAdversarialTest, PlateausOfTenThousandOfBothSigns) {
  AttentionCase c = Full();
  SetLogits(&c, [](int64_t s) { return s % 3 == 0 ? 1e4f : -1e4f; });
  Expect(c);
}

TEST_P(AttentionAdversarialTest, WholeRowsAndTilesMasked) {
  for (MaskKind kind : {MaskKind::kCausal, MaskKind::kWindow, MaskKind::kDocuments}) {
    SCOPED_TRACE(NameOf(kind));
    Expect(Make(MakeMask(kind, 200), Positions({0, 1, 260}), {Positions({97, 1, 40})}));
  }
  Mask nothing = MakeMask(MaskKind::kBlockSparse, 100);
  nothing.blocks = {.block_tokens = 10, .window_blocks = 0};
  Expect(Make(nothing, Positions({0, 1, 100}), {Positions({0, 1, 100})}));
}

TEST_P(AttentionAdversarialTest, OneKey) {
  for (int64_t queries : {1, 3, 130}) {
    const Positions one({queries / 2, 1, 1});
    AttentionCase c = Make(MakeMask(MaskKind::kFull, queries), Positions({0, 1, queries}), {one});
    Expect(c);
    for (float logit : {1e4f, -1e4f}) {
      SetLogits(&c, [logit](int64_t) { return logit; });
      Expect(c);
    }
  }
}

// Results that small are 0 on CPUs: what is left is that all keys weigh the same.
TEST_P(AttentionAdversarialTest, DenormalInputs) {
  AttentionCase c = Full();
  for (auto* x : {&c.inputs.q, &c.inputs.k, &c.inputs.v, &c.dout}) Scale(x, 1e-39f, GetParam());
  ExpectFinite(c);
  for (const TileKernels* tiles : RunnableTileKernels(GetParam())) {
    SCOPED_TRACE(tiles->isa);
    const AttentionResult r = RunFused(c, *tiles, 1);
    for (float x : r.output.lse) EXPECT_NEAR(x, std::log(300.0f), 1e-5f);
    for (const auto* values : {&r.output.out, &r.gradients.dq, &r.gradients.dk, &r.gradients.dv}) {
      for (float x : *values) EXPECT_LE(std::abs(x), 1e-36f);
    }
  }
  AttentionCase keys_only = Full();
  Scale(&keys_only.inputs.k, 1e-39f, GetParam());
  Expect(keys_only);
}

TEST_P(AttentionAdversarialTest, RepeatedMaxima) {
  AttentionCase c = Full();
  for (float plateau : {0.0f, 80.0f, -80.0f, 5000.0f}) {
    SetLogits(&c, [plateau](int64_t) { return plateau; });
    Expect(c);
    // The same maximum once in every tile, whatever its size.
    SetLogits(&c, [plateau](int64_t s) { return s % 16 == 7 ? plateau : plateau - 30; });
    Expect(c);
  }
}

// The reference must follow, be it at every key, now and then, or in one leap.
TEST_P(AttentionAdversarialTest, MaximumRisesSteadily) {
  AttentionCase c = Full();
  for (float slope : {0.01f, 0.25f, 2.0f, 16.0f}) {
    SCOPED_TRACE(slope);
    SetLogits(&c, [slope](int64_t s) { return slope * static_cast<float>(s); });
    Expect(c);
    SetLogits(&c, [slope](int64_t s) { return slope * static_cast<float>(s / 64 * 64) - 4000; });
    Expect(c);
  }
}

// What comes after a high score must vanish, and a first score must not bind those after it.
TEST_P(AttentionAdversarialTest, FarBelowAndFarAboveTheFirstScore) {
  AttentionCase c = Full();
  for (float cliff : {50.0f, 89.0f, 104.0f, 1000.0f, 1e4f}) {
    SCOPED_TRACE(cliff);
    SetLogits(&c, [cliff](int64_t s) { return s == 0 ? cliff : -cliff; });
    Expect(c);
    SetLogits(&c, [cliff](int64_t s) { return s == 0 ? -cliff : cliff; });
    Expect(c);
    SetLogits(&c, [cliff](int64_t s) { return s == 299 ? cliff : -cliff; });
    Expect(c);
  }
}

// In the billions one rounding of a logit is past the range of exp: what is left is which logit is
// the largest, and that a query's only key has all of its weight.
TEST_P(AttentionAdversarialTest, LogitsOfBillions) {
  for (float logit : {1.84062195e9f, 3.06516096e9f, 3.17887821e9f, -3.17089382e9f, 1e38f}) {
    SCOPED_TRACE(logit);
    AttentionCase one =
        Make(MakeMask(MaskKind::kFull, 3), Positions({0, 1, 3}), {Positions({1, 1, 1})});
    SetLogits(&one, [logit](int64_t) { return logit; });
    Expect(one);
    one.inputs.problem.scale = 0.1f;
    Expect(one);
  }
  // Far apart, so that all others vanish; the largest at the start, within and at the end.
  for (int64_t top : {0, 150, 299}) {
    SCOPED_TRACE(top);
    AttentionCase c = Full();
    c.inputs.problem.scale = 0.1f;
    SetLogits(&c, [top](int64_t s) { return s == top ? 3.17887821e10f : -1e10f; });
    Expect(c);
  }
}

// Falling scores as well: the sum is made up by the first keys, the rest must not disturb it.
TEST_P(AttentionAdversarialTest, MaximumFallsSteadily) {
  AttentionCase c = Full();
  for (float slope : {0.01f, 0.25f, 16.0f}) {
    SetLogits(&c, [slope](int64_t s) { return -slope * static_cast<float>(s); });
    Expect(c);
  }
}

INSTANTIATE_TEST_SUITE_P(DTypes, AttentionAdversarialTest,
                         testing::Values(DType::kF32, DType::kBF16),
                         [](const auto& dtype) { return std::string(NameOf(dtype.param)); });

}  // namespace
}  // namespace annulus::kernels::cpu
