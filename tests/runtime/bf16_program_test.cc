// The training step of a bf16 model: its gradients against finite differences of a float64 model at
// the same weights, against themselves over numbers of ranks, and its losses against f32's.
#include <gtest/gtest.h>

#include <cmath>

#include "kernels/base/bfloat16.h"
#include "tests/reference/decoder_plain.h"
#include "tests/reference/decoder_reference.h"
#include "tests/runtime/tiny_run.h"

namespace annulus::runtime {
namespace {

using kernels::DType;

TinyRun Bf16Run(int64_t length, int64_t batch) {
  TinyRun run = MakeTinyRun(length, batch);
  run.shape.dtype = DType::kBF16;
  return run;
}

float Rounded(float x) { return kernels::ToFloat(kernels::ToBFloat16(x)); }

// |actual - truth| / |truth|.
template <class Values>
double RelativeError(const Values& actual, const std::vector<double>& truth) {
  double difference = 0, norm = 0;
  for (size_t i = 0; i < truth.size(); ++i) {
    const double d = static_cast<double>(actual[i]) - truth[i];
    difference += d * d;
    norm += truth[i] * truth[i];
  }
  return std::sqrt(difference / std::max(norm, 1e-30));
}

class Bf16Decoder : public testing::TestWithParam<bool> {
 protected:
  static constexpr int64_t kLength = 19;

  Bf16Decoder() : run_(Bf16Run(kLength, 1)) {
    run_.shape.hidden_size = 12;
    run_.shape.vocab_size = 11;
    run_.shape.intermediate_size = 10;
    run_.shape.tie_word_embeddings = GetParam();
    sequence_.tokens.resize(kLength);
    sequence_.labels.resize(kLength);
    TinyData(run_)->TrainSequence(0, kLength, kernels::Positions({0, 1, kLength}),
                                  sequence_.tokens.data(), sequence_.labels.data());
    const ParameterLayout layout(run_.shape);
    for (const ParameterSpec& spec : layout.specs()) {
      std::vector<float> values(static_cast<size_t>(spec.size));
      FillInitialValues(spec, run_.config.train.seed, 0, values);
      for (float& value : values) value = Rounded(value);
      exact_[spec.name].assign(values.begin(), values.end());
      rounded_[spec.name] = std::move(values);
    }
  }

  double Loss() const { return reference::DecoderLossSum(run_.shape, exact_, mask_, sequence_); }

  // Central differences of the float64 loss.
  std::vector<double> Truth(const std::string& name) {
    std::vector<double>& values = exact_.at(name);
    std::vector<double> slopes;
    for (double& value : values) {
      const double kept = value, step = 1e-5;
      value = kept + step;
      const double above = Loss();
      value = kept - step;
      slopes.push_back((above - Loss()) / (2 * step));
      value = kept;
    }
    return slopes;
  }

  reference::PlainGradients Plain(DType dtype) const {
    DecoderShape shape = run_.shape;
    shape.dtype = dtype;
    return reference::PlainDecoderGradients(shape, rounded_, mask_, sequence_);
  }

  TinyRun run_;
  reference::ReferenceSequence sequence_;
  reference::Parameters exact_;
  reference::FloatParameters rounded_;
  kernels::Mask mask_{.kind = kernels::MaskKind::kCausal, .length = kLength};
};

TEST_P(Bf16Decoder, LosesNoMoreThanAPlainImplementation) {
  const GradientResult result = GradientsOf(run_);
  const reference::PlainGradients plain = Plain(DType::kBF16), plain_f32 = Plain(DType::kF32);
  const double loss = Loss(), floor = 0x1p-9;
  EXPECT_NEAR(result.step.loss * static_cast<double>(result.step.targets), loss,
              2 * std::abs(plain.loss - loss) + floor * loss);
  const ParameterLayout layout(run_.shape);
  for (const ParameterSpec& spec : layout.specs()) {
    const std::vector<double> truth = Truth(spec.name);
    const double error = RelativeError(result.gradients.data() + spec.offset, truth);
    const double plain_error = RelativeError(plain.gradients.at(spec.name), truth);
    EXPECT_LE(error, 2 * plain_error + floor) << spec.name;
    // The measure itself: exact but for rounding, and rounding is a few parts in 256.
    EXPECT_LE(RelativeError(plain_f32.gradients.at(spec.name), truth), 3e-6) << spec.name;
    EXPECT_LE(plain_error, 0.02) << spec.name;
  }
}

INSTANTIATE_TEST_SUITE_P(Heads, Bf16Decoder, testing::Bool(),
                         [](const auto& tied) { return tied.param ? "tied" : "untied"; });

// Ranks fold the keys in another order, so that a sum may round the other way. Each gradient is off
// by a hundredth at most, as Bf16Decoder has it, so two of them differ by no more than twice that.
TEST(Bf16Ranks, LossAndEveryGradientAreNearlyThoseOfOneRank) {
  TinyRun one = Bf16Run(101, 2);
  const GradientResult expected = GradientsOf(one);
  const ParameterLayout layout(one.shape);
  for (int ranks : {1, 2, 3, 4}) {
    SCOPED_TRACE(ranks);
    TinyRun many = one;
    many.ranks = ranks;
    const GradientResult actual = GradientsOf(many);
    EXPECT_EQ(actual.step.targets, expected.step.targets);
    EXPECT_NEAR(actual.step.loss, expected.step.loss, 1e-3 * expected.step.loss);
    for (const ParameterSpec& spec : layout.specs()) {
      const float* begin = expected.gradients.data() + spec.offset;
      const std::vector<double> truth(begin, begin + spec.size);
      EXPECT_LE(RelativeError(actual.gradients.data() + spec.offset, truth), 0.02) << spec.name;
    }
  }
}

TEST(Bf16Recomputation, GivesTheSameBits) {
  TinyRun run = Bf16Run(77, 2);
  run.ranks = 2;
  const GradientResult kept = GradientsOf(run);
  for (Recompute recompute : {Recompute::kMlp, Recompute::kBlock}) {
    run.config.memory.recompute = recompute;
    EXPECT_EQ(GradientsOf(run).gradients, kept.gradients);
  }
}

TEST(Bf16Training, LearnsAsF32DoesAndReruns) {
  TinyRun bf16 = Bf16Run(96, 2);
  bf16.config.optimizer.learning_rate = 3e-3;
  bf16.ranks = 2;
  TinyRun f32 = bf16;
  f32.shape.dtype = DType::kF32;
  const std::vector<double> losses = LossesOf(bf16, 50), expected = LossesOf(f32, 50);
  EXPECT_LT(expected.back(), expected.front() - 0.1);
  for (size_t s = 0; s < losses.size(); ++s) EXPECT_NEAR(losses[s], expected[s], 0.01) << s;
  EXPECT_EQ(losses, LossesOf(bf16, 50));
}

// The parameters that a run leaves, widened.
std::vector<float> ParametersAfter(const TinyRun& run, int64_t steps) {
  std::vector<float> values;
  OnEveryRank(run, [&](Program& program, const BatchLoader& load, Arena&, const RankPlan&) {
    for (int64_t s = 0; s < steps; ++s) {
      program.Step(s, run.config.train.sequence_length, 0, load);
    }
    const View parameters = program.parameters();
    for (int64_t i = 0; i < parameters.size(); ++i) {
      values.push_back(parameters.dtype == DType::kF32
                           ? parameters.As<float>()[i]
                           : kernels::ToFloat(parameters.As<kernels::BFloat16>()[i]));
    }
  });
  return values;
}

TEST(Bf16Parameters, StartAsF32OnesRounded) {
  const TinyRun bf16 = Bf16Run(32, 1), f32 = MakeTinyRun(32, 1);
  std::vector<float> expected = ParametersAfter(f32, 0);
  for (float& value : expected) value = Rounded(value);
  EXPECT_EQ(ParametersAfter(bf16, 0), expected);
}

// Updates of a 2^-13th of a norm's weight: each alone is lost in bf16, whose next number below 1 is
// 1 - 2^-8. A hundred of them are not, for the master keeps them.
TEST(Bf16Parameters, GatherUpdatesTooSmallForThem) {
  TinyRun run = Bf16Run(32, 1);
  run.config.optimizer.learning_rate = 0x1p-13;
  run.config.optimizer.decay = Decay::kConstant;
  const ParameterLayout layout(run.shape);
  const auto first_norm = static_cast<size_t>(layout.decayed_elements());
  EXPECT_EQ(ParametersAfter(run, 1)[first_norm], 1.0f);
  EXPECT_NE(ParametersAfter(run, 100)[first_norm], 1.0f);
}

}  // namespace
}  // namespace annulus::runtime
