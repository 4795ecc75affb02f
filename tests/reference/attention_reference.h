// Attention written out plainly, as the measure of every fused kernel and ring schedule.
//
// The score matrix is materialised and every step is one loop. In double it is the truth; in float
// it is what a plain implementation of the same precision achieves, so that a tolerance can be
// stated as a multiple of its error. For a bf16 problem the plain implementation keeps what any
// implementation on bf16 matrix products keeps in bf16: probabilities, their gradients and outputs.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/base/ops.h"

namespace annulus::reference {

// problem.queries holds the T query tokens' global positions, `keys` the S key tokens'.
// q [B,T,H,D]; k, v [B,S,Hkv,D]; row-major.
struct AttentionInputs {
  kernels::AttentionProblem problem;
  kernels::Positions keys;
  std::vector<float> q;
  std::vector<float> k;
  std::vector<float> v;

  int64_t query_elements() const;  // B*T*H*D
  int64_t key_elements() const;    // B*S*Hkv*D
};

// out [B,T,H,D]; lse [B,H,T], natural logarithm. A row that may attend to no key has out = 0 and
// lse = -inf.
template <class Real>
struct AttentionOutput {
  std::vector<Real> out;
  std::vector<Real> lse;
};

// dq [B,T,H,D]; dk, dv [B,S,Hkv,D].
template <class Real>
struct AttentionGradients {
  std::vector<Real> dq;
  std::vector<Real> dk;
  std::vector<Real> dv;
};

// softmax(scale * q k^T, masked) v. Real is float or double: the type of every intermediate result.
template <class Real>
AttentionOutput<Real> AttentionForward(const AttentionInputs& inputs);

// The gradients of sum(dout * out); dout [B,T,H,D].
template <class Real>
AttentionGradients<Real> AttentionBackward(const AttentionInputs& inputs,
                                           const std::vector<float>& dout);

// Inputs of standard normal deviates, the same for the same seed, rounded to the problem's dtype.
AttentionInputs RandomAttentionInputs(const kernels::AttentionProblem& problem,
                                      const kernels::Positions& keys, uint32_t seed);
std::vector<float> RandomNormal(int64_t count, uint32_t seed);

// `values` as `dtype` holds them.
void RoundTo(kernels::DType dtype, std::vector<float>* values);

}  // namespace annulus::reference
