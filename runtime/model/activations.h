// What a decoder layer computes in forward and needs in backward, and how long each tensor lives.
//
// The recompute policies differ only in a column of one table (activations.cc): a tensor is either
// kept from forward to backward, or exists during each of them and is computed twice.
#pragma once

#include "runtime/config/run_config.h"
#include "runtime/model/decoder_shape.h"
#include "runtime/model/step_context.h"

namespace annulus::runtime {

// The layer's input x [N,C] is the output of the layer before. Elements are of DecoderShape::dtype,
// but for the reciprocal deviations and log_sum_exp, which are f32. What attention reads is kept as
// this rank attends with it: h of the heads and hkv key/value heads, of the U*T tokens of its
// Ulysses group (parallel/context_attention.h); U = 1 leaves H, Hkv and T.
struct LayerActivations {
  kernels::View input_rstd;    // [N]
  kernels::View input_normed;  // [N,C]
  kernels::View query;         // [B,U*T,h,D], rotated
  kernels::View key_value;     // [2,B,U*T,hkv*D]: rotated keys, then values; the block that travels
  kernels::View attention;     // [B,T,H,D]
  kernels::View log_sum_exp;   // [B,h,U*T]
  kernels::View middle;        // [N,C], the residual stream between attention and MLP
  kernels::View middle_rstd;   // [N]
  kernels::View middle_normed;  // [N,C]
  kernels::View gate;           // [N,F]
  kernels::View up;             // [N,F]
  kernels::View gated;          // [N,F]
  kernels::View output;         // [N,C]
};

// Pushes the tensors that `recompute` keeps from forward to backward.
void AllocateKept(const DecoderShape& shape, const SequenceShape& sequence, Recompute recompute,
                  kernels::StackMemory& memory, LayerActivations& layer);

// Pushes the others; to be popped at the end of the layer's forward or backward.
void AllocateTransient(const DecoderShape& shape, const SequenceShape& sequence,
                       Recompute recompute, kernels::StackMemory& memory, LayerActivations& layer);

// Which halves of a layer backward must run again.
constexpr bool RecomputesAttentionInputs(Recompute r) { return r == Recompute::kBlock; }
constexpr bool RecomputesMlp(Recompute r) { return r != Recompute::kNone; }

}  // namespace annulus::runtime
