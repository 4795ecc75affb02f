// The training step as a whole: gradients against finite differences of a float64 model, and
// against themselves over every number of ranks.
#include "runtime/train/program.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <ostream>

#include "tests/reference/decoder_reference.h"
#include "tests/runtime/tiny_run.h"

namespace annulus::runtime {
namespace {

double RelativeError(const float* actual, const float* expected, int64_t size) {
  double difference = 0, norm = 0;
  for (int64_t i = 0; i < size; ++i) {
    const double d = static_cast<double>(actual[i]) - static_cast<double>(expected[i]);
    difference += d * d;
    norm += static_cast<double>(expected[i]) * static_cast<double>(expected[i]);
  }
  return std::sqrt(difference / std::max(norm, 1e-30));
}

void ExpectEqualGradients(const TinyRun& one, const TinyRun& many, double tolerance) {
  const GradientResult expected = GradientsOf(one);
  const GradientResult actual = GradientsOf(many);
  EXPECT_EQ(actual.step.targets, expected.step.targets);
  EXPECT_NEAR(actual.step.loss, expected.step.loss, tolerance * expected.step.loss);
  const ParameterLayout layout(one.shape);
  for (const ParameterSpec& spec : layout.specs()) {
    EXPECT_LE(RelativeError(actual.gradients.data() + spec.offset,
                            expected.gradients.data() + spec.offset, spec.size),
              tolerance)
        << spec.name;
  }
}

reference::Parameters ParametersOf(const ParameterLayout& layout, uint64_t seed) {
  reference::Parameters parameters;
  for (const ParameterSpec& spec : layout.specs()) {
    std::vector<float> values(static_cast<size_t>(spec.size));
    FillInitialValues(spec, seed, 0, values);
    parameters[spec.name].assign(values.begin(), values.end());
  }
  return parameters;
}

class DecoderGradient : public testing::TestWithParam<bool> {};

TEST_P(DecoderGradient, MatchesFiniteDifferencesOfEveryParameter) {
  TinyRun run = MakeTinyRun(19, 1);
  run.shape.hidden_size = 12;
  run.shape.vocab_size = 11;
  run.shape.intermediate_size = 10;
  run.shape.tie_word_embeddings = GetParam();
  const GradientResult result = GradientsOf(run);

  reference::ReferenceSequence sequence;
  sequence.tokens.resize(19);
  sequence.labels.resize(19);
  TinyData(run)->TrainSequence(0, 19, kernels::Positions({0, 1, 19}), sequence.tokens.data(),
                               sequence.labels.data());
  const ParameterLayout layout(run.shape);
  reference::Parameters parameters = ParametersOf(layout, run.config.train.seed);
  const kernels::Mask mask{.kind = kernels::MaskKind::kCausal, .length = 19};
  const auto loss = [&] {
    return reference::DecoderLossSum(run.shape, parameters, mask, sequence);
  };
  EXPECT_NEAR(result.step.loss * static_cast<double>(result.step.targets), loss(), 1e-5 * loss());

  for (const ParameterSpec& spec : layout.specs()) {
    std::vector<double>& values = parameters.at(spec.name);
    double difference = 0, norm = 0;
    for (size_t i = 0; i < values.size(); ++i) {
      const double step = 1e-5;
      const double value = values[i];
      values[i] = value + step;
      const double above = loss();
      values[i] = value - step;
      const double slope = (above - loss()) / (2 * step);
      values[i] = value;
      const double actual =
          static_cast<double>(result.gradients[static_cast<size_t>(spec.offset) + i]);
      difference += (actual - slope) * (actual - slope);
      norm += slope * slope;
    }
    ASSERT_GT(norm, 0) << spec.name;
    EXPECT_LE(std::sqrt(difference / norm), 3e-6) << spec.name;
  }
}

INSTANTIATE_TEST_SUITE_P(Heads, DecoderGradient, testing::Bool(),
                         [](const auto& tied) { return tied.param ? "tied" : "untied"; });

struct ParityCase {
  int ranks;
  parallel::PartitionKind partition;
  int64_t kv_heads;
  int64_t length;

  friend void PrintTo(const ParityCase& c, std::ostream* out) {
    *out << fmt::format("P{}_{}_kv{}", c.ranks, NameOf(c.partition), c.kv_heads);
  }
};

class RankParity : public testing::TestWithParam<ParityCase> {};

TEST_P(RankParity, LossAndEveryGradientAreThoseOfOneRank) {
  const ParityCase& c = GetParam();
  TinyRun one = MakeTinyRun(c.length, 2);
  one.shape.num_key_value_heads = c.kv_heads;
  one.config.parallel.partition = c.partition;
  TinyRun many = one;
  many.ranks = c.ranks;
  ExpectEqualGradients(one, many, 1e-5);
}

std::vector<ParityCase> ParityCases() {
  std::vector<ParityCase> cases;
  for (int ranks : {1, 2, 3, 4, 7, 8}) {
    for (auto partition : {parallel::PartitionKind::kContiguous, parallel::PartitionKind::kZigzag,
                           parallel::PartitionKind::kStriped}) {
      for (int64_t kv_heads : {1, 2, 4}) cases.push_back({ranks, partition, kv_heads, 101});
    }
  }
  return cases;
}

INSTANTIATE_TEST_SUITE_P(All, RankParity, testing::ValuesIn(ParityCases()),
                         testing::PrintToStringParamName());

TEST(RankParityOnAGrid, DataTimesContextAndAccumulationChangeNothing) {
  const TinyRun one = MakeTinyRun(64, 12);
  TinyRun grid = one;
  grid.ranks = 6;
  grid.config.parallel.context_size = 2;
  grid.config.train.micro_batch_size = 2;
  ExpectEqualGradients(one, grid, 1e-5);
}

TEST(Recomputation, GivesTheSameBits) {
  TinyRun run = MakeTinyRun(77, 2);
  run.ranks = 2;
  const GradientResult kept = GradientsOf(run);
  for (Recompute recompute : {Recompute::kMlp, Recompute::kBlock}) {
    run.config.memory.recompute = recompute;
    EXPECT_EQ(GradientsOf(run).gradients, kept.gradients);
  }
}

TEST(Training, RerunIsBitIdenticalAndRanksAgreeOnTheCurve) {
  TinyRun one = MakeTinyRun(96, 2);
  one.config.optimizer.learning_rate = 3e-3;
  TinyRun four = one;
  four.ranks = 4;
  const std::vector<double> losses = LossesOf(one, 50);
  EXPECT_LT(losses.back(), losses.front() - 0.1);
  const std::vector<double> sharded = LossesOf(four, 50);
  EXPECT_EQ(sharded, LossesOf(four, 50));
  for (size_t s = 0; s < losses.size(); ++s) EXPECT_NEAR(sharded[s], losses[s], 1e-4) << s;
}

TEST(LossHeadChunks, ChangeNothingBeyondRounding) {
  TinyRun whole = MakeTinyRun(101, 1);
  TinyRun chunked = whole;
  chunked.config.memory.loss_chunk_tokens = 7;
  ExpectEqualGradients(whole, chunked, 1e-5);
}

}  // namespace
}  // namespace annulus::runtime
