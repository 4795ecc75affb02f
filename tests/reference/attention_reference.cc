#include "tests/reference/attention_reference.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "kernels/base/bfloat16.h"

namespace annulus::reference {
namespace {

// An intermediate or final result as a plain implementation stores it: what truth is, it keeps.
double Stored(double x, kernels::DType) { return x; }
float Stored(float x, kernels::DType dtype) {
  return dtype == kernels::DType::kBF16 ? kernels::ToFloat(kernels::ToBFloat16(x)) : x;
}

// One query head of one sequence, with the key/value head that it reads. Rows are `query_stride`
// and `key_stride` elements apart.
template <class Real>
class Head {
 public:
  Head(const AttentionInputs& inputs, int64_t batch, int64_t head)
      : inputs_(inputs),
        dim_(inputs.problem.head_dim),
        queries_(inputs.problem.query_tokens()),
        keys_(inputs.keys.tokens()),
        query_stride_(inputs.problem.heads * dim_),
        key_stride_(inputs.problem.kv_heads * dim_),
        query_base_(batch * queries_ * query_stride_ + head * dim_),
        key_base_(batch * keys_ * key_stride_ +
                  head / (inputs.problem.heads / inputs.problem.kv_heads) * dim_) {}

  int64_t dim() const { return dim_; }
  int64_t queries() const { return queries_; }
  int64_t keys() const { return keys_; }
  size_t query_at(int64_t t, int64_t d) const {
    return static_cast<size_t>(query_base_ + t * query_stride_ + d);
  }
  size_t key_at(int64_t s, int64_t d) const {
    return static_cast<size_t>(key_base_ + s * key_stride_ + d);
  }

  // Row t of scale * q k^T, -inf where the mask forbids.
  std::vector<Real> Logits(int64_t t) const {
    std::vector<Real> row(static_cast<size_t>(keys_), -std::numeric_limits<Real>::infinity());
    const int64_t query = inputs_.problem.queries.at(t);
    for (int64_t s = 0; s < keys_; ++s) {
      if (!inputs_.problem.mask.Allows(query, inputs_.keys.at(s))) continue;
      Real logit = 0;
      for (int64_t d = 0; d < dim_; ++d) {
        logit += static_cast<Real>(inputs_.q[query_at(t, d)]) *
                 static_cast<Real>(inputs_.k[key_at(s, d)]);
      }
      row[static_cast<size_t>(s)] = logit * static_cast<Real>(inputs_.problem.scale);
    }
    return row;
  }

 private:
  const AttentionInputs& inputs_;
  int64_t dim_, queries_, keys_, query_stride_, key_stride_, query_base_, key_base_;
};

// Replaces logits by their softmax; the logarithm of the sum of their exponentials.
template <class Real>
Real Softmax(std::vector<Real>* row) {
  constexpr Real kMinusInfinity = -std::numeric_limits<Real>::infinity();
  Real max = kMinusInfinity;
  for (Real logit : *row) max = std::max(max, logit);
  Real sum = 0;
  for (Real& x : *row) sum += x = max == kMinusInfinity ? Real{0} : std::exp(x - max);
  if (sum == 0) return kMinusInfinity;
  for (Real& p : *row) p /= sum;
  return max + std::log(sum);
}

// Probabilities come from the logits and the row's logarithm of the sum, rounded to Real as any
// backward pass finds it stored.
template <class Real>
std::vector<Real> RecomputedProbabilities(const Head<Real>& head, int64_t t) {
  std::vector<Real> row = head.Logits(t), softmax = row;
  const Real lse = Softmax(&softmax);
  for (Real& x : row) x = std::isinf(x) ? Real{0} : std::exp(x - lse);
  return row;
}

// rowsum(dout * out), with the output row as the forward pass stored it.
template <class Real>
Real Delta(const AttentionInputs& inputs, const std::vector<float>& dout, const Head<Real>& head,
           int64_t t, const std::vector<Real>& p) {
  Real delta = 0;
  for (int64_t d = 0; d < head.dim(); ++d) {
    Real out = 0;
    for (int64_t s = 0; s < head.keys(); ++s) {
      out += Stored(p[static_cast<size_t>(s)], inputs.problem.dtype) *
             static_cast<Real>(inputs.v[head.key_at(s, d)]);
    }
    delta += static_cast<Real>(dout[head.query_at(t, d)]) * Stored(out, inputs.problem.dtype);
  }
  return delta;
}

template <class Real>
void BackwardRow(const AttentionInputs& inputs, const std::vector<float>& dout,
                 const Head<Real>& head, int64_t t, AttentionGradients<Real>* gradients) {
  const kernels::DType dtype = inputs.problem.dtype;
  const std::vector<Real> p = RecomputedProbabilities(head, t);
  std::vector<Real> dp(p.size(), Real{0});
  for (int64_t s = 0; s < head.keys(); ++s) {
    for (int64_t d = 0; d < head.dim(); ++d) {
      const Real upstream = static_cast<Real>(dout[head.query_at(t, d)]);
      dp[static_cast<size_t>(s)] += upstream * static_cast<Real>(inputs.v[head.key_at(s, d)]);
      gradients->dv[head.key_at(s, d)] += Stored(p[static_cast<size_t>(s)], dtype) * upstream;
    }
  }
  const Real delta = Delta(inputs, dout, head, t, p);
  for (int64_t s = 0; s < head.keys(); ++s) {
    const auto i = static_cast<size_t>(s);
    const Real ds = Stored(p[i] * (dp[i] - delta), dtype) * static_cast<Real>(inputs.problem.scale);
    for (int64_t d = 0; d < head.dim(); ++d) {
      gradients->dq[head.query_at(t, d)] += ds * static_cast<Real>(inputs.k[head.key_at(s, d)]);
      gradients->dk[head.key_at(s, d)] += ds * static_cast<Real>(inputs.q[head.query_at(t, d)]);
    }
  }
}

}  // namespace

int64_t AttentionInputs::query_elements() const {
  return problem.batch * problem.query_tokens() * problem.heads * problem.head_dim;
}

int64_t AttentionInputs::key_elements() const {
  return problem.batch * keys.tokens() * problem.kv_heads * problem.head_dim;
}

template <class Real>
AttentionOutput<Real> AttentionForward(const AttentionInputs& inputs) {
  const kernels::AttentionProblem& p = inputs.problem;
  AttentionOutput<Real> result;
  result.out.assign(static_cast<size_t>(inputs.query_elements()), Real{0});
  for (int64_t b = 0; b < p.batch; ++b) {
    for (int64_t h = 0; h < p.heads; ++h) {
      const Head<Real> head(inputs, b, h);
      for (int64_t t = 0; t < head.queries(); ++t) {
        std::vector<Real> row = head.Logits(t);
        result.lse.push_back(Softmax(&row));
        for (int64_t s = 0; s < head.keys(); ++s) {
          for (int64_t d = 0; d < head.dim(); ++d) {
            result.out[head.query_at(t, d)] += Stored(row[static_cast<size_t>(s)], p.dtype) *
                                               static_cast<Real>(inputs.v[head.key_at(s, d)]);
          }
        }
      }
    }
  }
  for (Real& x : result.out) x = Stored(x, p.dtype);
  return result;
}

template <class Real>
AttentionGradients<Real> AttentionBackward(const AttentionInputs& inputs,
                                           const std::vector<float>& dout) {
  AttentionGradients<Real> gradients;
  gradients.dq.assign(static_cast<size_t>(inputs.query_elements()), Real{0});
  gradients.dk.assign(static_cast<size_t>(inputs.key_elements()), Real{0});
  gradients.dv.assign(static_cast<size_t>(inputs.key_elements()), Real{0});
  for (int64_t b = 0; b < inputs.problem.batch; ++b) {
    for (int64_t h = 0; h < inputs.problem.heads; ++h) {
      const Head<Real> head(inputs, b, h);
      for (int64_t t = 0; t < head.queries(); ++t) BackwardRow(inputs, dout, head, t, &gradients);
    }
  }
  for (Real& x : gradients.dq) x = Stored(x, inputs.problem.dtype);
  return gradients;
}

template AttentionOutput<float> AttentionForward(const AttentionInputs&);
template AttentionOutput<double> AttentionForward(const AttentionInputs&);
template AttentionGradients<float> AttentionBackward(const AttentionInputs&,
                                                     const std::vector<float>&);
template AttentionGradients<double> AttentionBackward(const AttentionInputs&,
                                                      const std::vector<float>&);

std::vector<float> RandomNormal(int64_t count, uint32_t seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = normal(generator);
  return values;
}

void RoundTo(kernels::DType dtype, std::vector<float>* values) {
  for (float& value : *values) value = Stored(value, dtype);
}

AttentionInputs RandomAttentionInputs(const kernels::AttentionProblem& problem,
                                      const kernels::Positions& keys, uint32_t seed) {
  AttentionInputs inputs{problem, keys, {}, {}, {}};
  inputs.q = RandomNormal(inputs.query_elements(), seed);
  inputs.k = RandomNormal(inputs.key_elements(), seed + 1);
  inputs.v = RandomNormal(inputs.key_elements(), seed + 2);
  for (auto* x : {&inputs.q, &inputs.k, &inputs.v}) RoundTo(problem.dtype, x);
  return inputs;
}

}  // namespace annulus::reference
