// Every backward of the reference against finite differences of its forward.
#include "tests/reference/layer_reference.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <random>

namespace annulus::reference {
namespace {

using Values = std::vector<double>;

Values Random(size_t count, unsigned seed) {
  std::mt19937 bits(seed);
  std::uniform_real_distribution<double> uniform(-1.5, 1.5);
  Values values(count);
  for (double& value : values) value = uniform(bits);
  return values;
}

double Dot(const Values& a, const Values& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

// `gradient` is d loss / d at, by central differences: their own error is about 1e-9 here.
void ExpectGradient(const Values& gradient, Values at,
                    const std::function<double(const Values&)>& loss) {
  constexpr double kStep = 1e-5;
  ASSERT_EQ(gradient.size(), at.size());
  for (size_t i = 0; i < at.size(); ++i) {
    const double here = at[i];
    at[i] = here + kStep;
    const double above = loss(at);
    at[i] = here - kStep;
    const double below = loss(at);
    at[i] = here;
    EXPECT_NEAR(gradient[i], (above - below) / (2 * kStep), 1e-8) << "element " << i;
  }
}

TEST(LayerReference, RmsNormGradients) {
  constexpr double kEps = 1e-3;
  const Values x = Random(4 * 7, 1), weight = Random(7, 2), dy = Random(4 * 7, 3);
  const NormGradients<double> gradients = RmsNormBackward(dy, x, weight, kEps);
  ExpectGradient(gradients.dx, x,
                 [&](const Values& at) { return Dot(dy, RmsNorm(at, weight, kEps).y); });
  ExpectGradient(gradients.dweight, weight,
                 [&](const Values& at) { return Dot(dy, RmsNorm(x, at, kEps).y); });
}

TEST(LayerReference, SwiGluGradients) {
  const Values gate = Random(20, 1), up = Random(20, 2), dy = Random(20, 3);
  const SwiGluGradients<double> gradients = SwiGluBackward(dy, gate, up);
  ExpectGradient(gradients.dgate, gate, [&](const Values& at) { return Dot(dy, SwiGlu(at, up)); });
  ExpectGradient(gradients.dup, up, [&](const Values& at) { return Dot(dy, SwiGlu(gate, at)); });
}

TEST(LayerReference, CrossEntropyGradient) {
  const Values logits = Random(4 * 9, 1);
  const std::vector<int32_t> labels = {3, -1, 0, 8};
  ExpectGradient(CrossEntropy(logits, labels).gradient, logits, [&](const Values& at) {
    const Values loss = CrossEntropy(at, labels).loss;
    return Dot(loss, Values(loss.size(), 1.0));
  });
}

// A rotation is orthogonal: its gradient is the rotation by the opposite angle.
TEST(LayerReference, RopeGradient) {
  const RotaryTable table = RopeTable({0, 5, 1000}, 10000, 6);
  Values opposite = table.sine;
  for (double& sine : opposite) sine = -sine;
  const Values x = Random(3 * 2 * 6, 1), dy = Random(3 * 2 * 6, 2);
  ExpectGradient(Rope(dy, 2, table.cosine, opposite, 3), x, [&](const Values& at) {
    return Dot(dy, Rope(at, 2, table.cosine, table.sine, 3));
  });
}

// What rotary embedding is for: a query's product with a key depends on their distance only.
TEST(LayerReference, RopeProductsDependOnDistance) {
  const RotaryTable table = RopeTable({7, 3, 1007, 1003}, 10000, 8);
  const Values q = Random(8, 1), k = Random(8, 2);
  Values x;
  for (const Values& row : {q, k, q, k}) x.insert(x.end(), row.begin(), row.end());
  const Values y = Rope(x, 1, table.cosine, table.sine, 4);
  const auto row = [&](int i) { return Values(y.begin() + 8 * i, y.begin() + 8 * (i + 1)); };
  EXPECT_NEAR(Dot(row(0), row(1)), Dot(row(2), row(3)), 1e-12);
  EXPECT_GT(std::abs(Dot(row(0), row(1)) - Dot(row(0), row(3))), 1e-3);
}

TEST(LayerReference, MatMulOfKnownNumbers) {
  EXPECT_EQ(MatMul<double>({1, 2, 3, 4, 5, 6}, {1, 0, 0, 1, 1, 1}, 3), (Values{4, 5, 10, 11}));
}

// One step from zero moments moves every parameter by the learning rate against its gradient.
TEST(LayerReference, FirstAdamWStepIsTheSign) {
  AdamWState<double> state{{1.0, 2.0}, {0, 0}, {0, 0}};
  AdamW<double>({.learning_rate = 0.1, .beta1 = 0.9, .beta2 = 0.95}, {3.0, -0.01}, state);
  EXPECT_NEAR(state.parameter[0], 0.9, 1e-12);
  EXPECT_NEAR(state.parameter[1], 2.1, 1e-12);
  AdamW<double>({.learning_rate = 0.1, .beta1 = 0, .beta2 = 0, .weight_decay = 0.5}, {1, 1}, state);
  EXPECT_NEAR(state.parameter[0], 0.9 - 0.1 * (1 + 0.5 * 0.9), 1e-12);
}

}  // namespace
}  // namespace annulus::reference
