#include "tests/reference/layer_reference.h"

#include <algorithm>
#include <cmath>

namespace annulus::reference {

template <class Real>
std::vector<Real> MatMul(const std::vector<Real>& a, const std::vector<Real>& b, int64_t k) {
  const auto depth = static_cast<size_t>(k);
  const size_t rows = a.size() / depth, columns = b.size() / depth;
  std::vector<Real> c(rows * columns);
  for (size_t i = 0; i < rows; ++i) {
    for (size_t j = 0; j < columns; ++j) {
      Real sum = 0;
      for (size_t p = 0; p < depth; ++p) sum += a[i * depth + p] * b[p * columns + j];
      c[i * columns + j] = sum;
    }
  }
  return c;
}

template <class Real>
NormOutput<Real> RmsNorm(const std::vector<Real>& x, const std::vector<Real>& weight, Real eps) {
  const size_t hidden = weight.size(), rows = x.size() / hidden;
  NormOutput<Real> out{std::vector<Real>(x.size()), std::vector<Real>(rows)};
  for (size_t r = 0; r < rows; ++r) {
    Real squares = 0;
    for (size_t i = 0; i < hidden; ++i) squares += x[r * hidden + i] * x[r * hidden + i];
    out.rstd[r] = 1 / std::sqrt(squares / static_cast<Real>(hidden) + eps);
    for (size_t i = 0; i < hidden; ++i) {
      out.y[r * hidden + i] = x[r * hidden + i] * out.rstd[r] * weight[i];
    }
  }
  return out;
}

template <class Real>
NormGradients<Real> RmsNormBackward(const std::vector<Real>& dy, const std::vector<Real>& x,
                                    const std::vector<Real>& weight, Real eps) {
  const size_t hidden = weight.size(), rows = x.size() / hidden;
  const std::vector<Real> rstd = RmsNorm(x, weight, eps).rstd;
  NormGradients<Real> out{std::vector<Real>(x.size()), std::vector<Real>(hidden)};
  for (size_t r = 0; r < rows; ++r) {
    Real dot = 0;
    for (size_t i = 0; i < hidden; ++i) {
      dot += dy[r * hidden + i] * weight[i] * x[r * hidden + i];
    }
    const Real cubed = rstd[r] * rstd[r] * rstd[r];
    for (size_t i = 0; i < hidden; ++i) {
      const size_t at = r * hidden + i;
      out.dx[at] = dy[at] * weight[i] * rstd[r] - x[at] * cubed * dot / static_cast<Real>(hidden);
      out.dweight[i] += dy[at] * x[at] * rstd[r];
    }
  }
  return out;
}

RotaryTable RopeTable(const std::vector<int64_t>& positions, double theta, int64_t head_dim) {
  RotaryTable table;
  for (int64_t position : positions) {
    for (int64_t i = 0; i < head_dim / 2; ++i) {
      const double angle =
          static_cast<double>(position) /
          std::pow(theta, 2 * static_cast<double>(i) / static_cast<double>(head_dim));
      table.cosine.push_back(std::cos(angle));
      table.sine.push_back(std::sin(angle));
    }
  }
  return table;
}

template <class Real>
std::vector<Real> Rope(const std::vector<Real>& x, int64_t heads, const std::vector<Real>& cosine,
                       const std::vector<Real>& sine, int64_t tokens) {
  const size_t half = cosine.size() / static_cast<size_t>(tokens);
  std::vector<Real> y(x.size());
  for (size_t t = 0; t < static_cast<size_t>(tokens); ++t) {
    for (size_t h = 0; h < static_cast<size_t>(heads); ++h) {
      for (size_t i = 0; i < half; ++i) {
        const size_t first = (t * static_cast<size_t>(heads) + h) * 2 * half + i;
        const size_t second = first + half;
        const Real c = cosine[t * half + i], s = sine[t * half + i];
        y[first] = x[first] * c - x[second] * s;
        y[second] = x[second] * c + x[first] * s;
      }
    }
  }
  return y;
}

template <class Real>
std::vector<Real> SwiGlu(const std::vector<Real>& gate, const std::vector<Real>& up) {
  std::vector<Real> y(gate.size());
  for (size_t i = 0; i < y.size(); ++i) y[i] = gate[i] / (1 + std::exp(-gate[i])) * up[i];
  return y;
}

template <class Real>
SwiGluGradients<Real> SwiGluBackward(const std::vector<Real>& dy, const std::vector<Real>& gate,
                                     const std::vector<Real>& up) {
  SwiGluGradients<Real> out{std::vector<Real>(dy.size()), std::vector<Real>(dy.size())};
  for (size_t i = 0; i < dy.size(); ++i) {
    const Real sigmoid = 1 / (1 + std::exp(-gate[i]));
    out.dgate[i] = dy[i] * up[i] * sigmoid * (1 + gate[i] * (1 - sigmoid));
    out.dup[i] = dy[i] * gate[i] * sigmoid;
  }
  return out;
}

template <class Real>
CrossEntropyOutput<Real> CrossEntropy(const std::vector<Real>& logits,
                                      const std::vector<int32_t>& labels) {
  const size_t rows = labels.size(), vocabulary = logits.size() / rows;
  CrossEntropyOutput<Real> out{std::vector<Real>(rows), std::vector<Real>(logits.size())};
  for (size_t r = 0; r < rows; ++r) {
    if (labels[r] < 0) continue;
    const Real* row = &logits[r * vocabulary];
    const Real max = *std::max_element(row, row + vocabulary);
    Real sum = 0;
    for (size_t i = 0; i < vocabulary; ++i) sum += std::exp(row[i] - max);
    const auto label = static_cast<size_t>(labels[r]);
    out.loss[r] = std::log(sum) + max - row[label];
    for (size_t i = 0; i < vocabulary; ++i) {
      out.gradient[r * vocabulary + i] = std::exp(row[i] - max) / sum - (i == label ? 1 : 0);
    }
  }
  return out;
}

template <class Real>
void AdamW(const AdamWOptions& options, const std::vector<Real>& gradient,
           AdamWState<Real>& state) {
  const auto b1 = static_cast<Real>(options.beta1), b2 = static_cast<Real>(options.beta2);
  const auto step = static_cast<Real>(options.step);
  for (size_t i = 0; i < gradient.size(); ++i) {
    const Real g = gradient[i] * static_cast<Real>(options.gradient_scale);
    Real& m = state.first_moment[i];
    Real& v = state.second_moment[i];
    Real& p = state.parameter[i];
    m = b1 * m + (1 - b1) * g;
    v = b2 * v + (1 - b2) * g * g;
    const Real direction =
        m / (1 - std::pow(b1, step)) /
        (std::sqrt(v / (1 - std::pow(b2, step))) + static_cast<Real>(options.eps));
    p -= static_cast<Real>(options.learning_rate) *
         (direction + static_cast<Real>(options.weight_decay) * p);
  }
}

#define ANNULUS_INSTANTIATE(Real)                                                                  \
  template std::vector<Real> MatMul(const std::vector<Real>&, const std::vector<Real>&, int64_t);  \
  template NormOutput<Real> RmsNorm(const std::vector<Real>&, const std::vector<Real>&, Real);     \
  template NormGradients<Real> RmsNormBackward(const std::vector<Real>&, const std::vector<Real>&, \
                                               const std::vector<Real>&, Real);                    \
  template std::vector<Real> Rope(const std::vector<Real>&, int64_t, const std::vector<Real>&,     \
                                  const std::vector<Real>&, int64_t);                              \
  template std::vector<Real> SwiGlu(const std::vector<Real>&, const std::vector<Real>&);           \
  template SwiGluGradients<Real> SwiGluBackward(                                                   \
      const std::vector<Real>&, const std::vector<Real>&, const std::vector<Real>&);               \
  template CrossEntropyOutput<Real> CrossEntropy(const std::vector<Real>&,                         \
                                                 const std::vector<int32_t>&);                     \
  template void AdamW(const AdamWOptions&, const std::vector<Real>&, AdamWState<Real>&)

ANNULUS_INSTANTIATE(float);
ANNULUS_INSTANTIATE(double);

}  // namespace annulus::reference
