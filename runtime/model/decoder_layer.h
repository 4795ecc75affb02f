// One pre-norm decoder layer (Touvron et al. 2023, LLaMA) with explicit forward and backward.
//
//   middle = x + Attention(RmsNorm(x)) W_o      output = middle + SwiGlu(RmsNorm(middle)) W_down
#pragma once

#include "parallel/context_attention.h"
#include "runtime/model/activations.h"
#include "runtime/model/parameters.h"

namespace annulus::runtime {

// cosine, sine [T, D/2] at the positions of the local tokens.
struct RopeTables {
  kernels::View cosine;
  kernels::View sine;
};

class DecoderLayer {
 public:
  // All must outlive this. `gradient` may be null where only Forward is called.
  struct Environment {
    const DecoderShape& shape;
    const SequenceShape& sequence;
    const StepContext& context;
    const RopeTables& rope;
    parallel::ContextAttention& attention;
  };
  DecoderLayer(const Environment& environment, const LayerTensors& weight,
               const LayerTensors* gradient)
      : env_(environment), weight_(weight), gradient_(gradient) {}

  // x [N,C], like dx below of the shape's dtype. Fills every tensor of `a`.
  void Forward(ConstView x, LayerActivations& a);

  // Fills again the tensors of `a` that `recompute` did not keep.
  void Recompute(ConstView x, runtime::Recompute recompute, LayerActivations& a);

  // dx [N,C]: on entry the gradient of the output, on return that of x. Accumulates parameter
  // gradients. Overwrites a.gate and a.up.
  void Backward(ConstView x, const LayerActivations& a, View dx);

 private:
  void Rotate(View query, View key_value, bool inverse);
  // Local [B,T,H,D] and [2,B,T,Hkv*D], each in `dtype`: what attention's inputs are projected to
  // and their gradients come home to.
  View AllocateQueries(kernels::DType dtype, std::string_view owner);
  View AllocateKeyValues(kernels::DType dtype, std::string_view owner);
  void ProjectAttentionInputs(ConstView x, LayerActivations& a);
  void AddAttentionOutput(ConstView x, LayerActivations& a);
  void ExpandMlp(LayerActivations& a);
  void BackwardMlp(const LayerActivations& a, View dx);
  void BackwardAttention(ConstView x, const LayerActivations& a, View dx);

  // y (+)= x W^T for x [N,in], W [out,in].
  void Linear(ConstView x, ConstView weight, View y, bool accumulate = false);
  // dx (+)= dy W; dW += dy^T x.
  void LinearBackwardInput(ConstView dy, ConstView weight, View dx, bool accumulate = false);
  void LinearBackwardWeight(ConstView dy, ConstView x, View dweight);

  const Environment& env_;
  const LayerTensors& weight_;
  const LayerTensors* gradient_;
};

}  // namespace annulus::runtime
