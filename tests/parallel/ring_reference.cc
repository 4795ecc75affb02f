#include "tests/parallel/ring_reference.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace annulus::parallel {
namespace {

template <class T>
std::vector<T> SequenceOf(const std::vector<T>& all, int64_t b) {
  const auto size = std::ssize(all) / kBatch;
  return {all.begin() + b * size, all.begin() + (b + 1) * size};
}

template <class T>
void Append(const std::vector<T>& part, std::vector<T>& all) {
  all.insert(all.end(), part.begin(), part.end());
}

// Sequence by sequence, each with its own mask.
template <class Real>
RingReference::Results<Real> ResultsOf(const Whole& whole) {
  RingReference::Results<Real> all;
  for (int64_t b = 0; b < kBatch; ++b) {
    reference::AttentionInputs one{whole.inputs.problem, whole.inputs.keys,
                                   SequenceOf(whole.inputs.q, b), SequenceOf(whole.inputs.k, b),
                                   SequenceOf(whole.inputs.v, b)};
    one.problem.batch = 1;
    one.problem.mask = whole.MaskOf(b);
    const auto output = reference::AttentionForward<Real>(one);
    const auto gradients = reference::AttentionBackward<Real>(one, SequenceOf(whole.dout, b));
    Append(output.out, all.output.out);
    Append(output.lse, all.output.lse);
    Append(gradients.dq, all.gradients.dq);
    Append(gradients.dk, all.gradients.dk);
    Append(gradients.dv, all.gradients.dv);
  }
  return all;
}

double Norm(const std::vector<double>& values) {
  double sum = 0;
  for (double v : values) sum += v * v;
  return std::sqrt(sum);
}

template <class Real>
double RelativeError(const std::vector<Real>& actual, const std::vector<double>& truth) {
  std::vector<double> difference(truth.size());
  for (size_t i = 0; i < truth.size(); ++i) {
    difference[i] = static_cast<double>(actual[i]) - truth[i];
  }
  // Inputs are of unit size: a gradient that cancels to nothing is measured against that.
  return Norm(difference) / std::max(Norm(truth), std::sqrt(static_cast<double>(truth.size())));
}

// Twice the error of a plain implementation of the same precision, and a floor of a few roundings.
template <class Real>
void ExpectClose(const std::vector<float>& actual, const std::vector<Real>& plain,
                 const std::vector<double>& truth, const char* what) {
  ASSERT_EQ(actual.size(), truth.size());
  EXPECT_LE(RelativeError(actual, truth),
            2 * RelativeError(plain, truth) + 4 * std::numeric_limits<float>::epsilon())
      << what;
}

}  // namespace

RingReference::RingReference(const Whole& whole)
    : truth_(ResultsOf<double>(whole)), plain_(ResultsOf<float>(whole)) {}

void RingReference::ExpectMatch(const RingResults& results) const {
  ExpectClose(results.out, plain_.output.out, truth_.output.out, "out");
  ExpectClose(results.lse, plain_.output.lse, truth_.output.lse, "lse");
  ExpectClose(results.dq, plain_.gradients.dq, truth_.gradients.dq, "dq");
  ExpectClose(results.dk, plain_.gradients.dk, truth_.gradients.dk, "dk");
  ExpectClose(results.dv, plain_.gradients.dv, truth_.gradients.dv, "dv");
}

}  // namespace annulus::parallel
