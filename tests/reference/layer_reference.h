// The layers around attention written out plainly, as the measure of every kernel of that name.
//
// Tensors are row-major vectors and every step is one loop. With Real = double it is the truth;
// with Real = float it is what a plain implementation of the same precision achieves, so that a
// tolerance can be stated as a multiple of its error. Shape letters as in kernels/base/view.h;
// contracts as in kernels/base/ops.h, except that gradients are returned, not accumulated.
#pragma once

#include <cstdint>
#include <vector>

namespace annulus::reference {

// c [M,N] = a [M,K] b [K,N]; M and N follow from the sizes.
template <class Real>
std::vector<Real> MatMul(const std::vector<Real>& a, const std::vector<Real>& b, int64_t k);

// y [N,C], rstd [N]; C is the size of weight.
template <class Real>
struct NormOutput {
  std::vector<Real> y;
  std::vector<Real> rstd;
};
template <class Real>
NormOutput<Real> RmsNorm(const std::vector<Real>& x, const std::vector<Real>& weight, Real eps);

template <class Real>
struct NormGradients {
  std::vector<Real> dx;
  std::vector<Real> dweight;
};
template <class Real>
NormGradients<Real> RmsNormBackward(const std::vector<Real>& dy, const std::vector<Real>& x,
                                    const std::vector<Real>& weight, Real eps);

// cosine, sine [T,D/2], always from float64 angles.
struct RotaryTable {
  std::vector<double> cosine;
  std::vector<double> sine;
};
RotaryTable RopeTable(const std::vector<int64_t>& positions, double theta, int64_t head_dim);

// Rotates x [T,H,D] by the table.
template <class Real>
std::vector<Real> Rope(const std::vector<Real>& x, int64_t heads, const std::vector<Real>& cosine,
                       const std::vector<Real>& sine, int64_t tokens);

template <class Real>
std::vector<Real> SwiGlu(const std::vector<Real>& gate, const std::vector<Real>& up);

template <class Real>
struct SwiGluGradients {
  std::vector<Real> dgate;
  std::vector<Real> dup;
};
template <class Real>
SwiGluGradients<Real> SwiGluBackward(const std::vector<Real>& dy, const std::vector<Real>& gate,
                                     const std::vector<Real>& up);

// loss [M] and the gradient [M,V] of their sum.
template <class Real>
struct CrossEntropyOutput {
  std::vector<Real> loss;
  std::vector<Real> gradient;
};
template <class Real>
CrossEntropyOutput<Real> CrossEntropy(const std::vector<Real>& logits,
                                      const std::vector<int32_t>& labels);

struct AdamWOptions {
  int64_t step = 1;
  double learning_rate = 0;
  double beta1 = 0;
  double beta2 = 0;
  double eps = 0;
  double weight_decay = 0;
  double gradient_scale = 1;
};
template <class Real>
struct AdamWState {
  std::vector<Real> parameter;
  std::vector<Real> first_moment;
  std::vector<Real> second_moment;
};
template <class Real>
void AdamW(const AdamWOptions& options, const std::vector<Real>& gradient, AdamWState<Real>& state);

}  // namespace annulus::reference
