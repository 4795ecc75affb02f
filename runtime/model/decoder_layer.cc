#include "runtime/model/decoder_layer.h"

namespace annulus::runtime {
namespace {

using kernels::DType;
using kernels::MemoryCategory;
using kernels::MemoryScope;

// [B,T,H,D] or [2,B,T,Hkv*D] seen as rows of the projections around attention.
template <class AnyView>
AnyView AsRows(const AnyView& view, int64_t rows) {
  return view.Reshape({rows, view.size() / rows});
}

template <class AnyView>
AnyView Half(const AnyView& key_value, int half) {
  return key_value.Slice(0, half, 1);
}

}  // namespace

void DecoderLayer::Linear(ConstView x, ConstView weight, View y, bool accumulate) {
  env_.context.kernels.MatMul({.a = x, .b = weight.Transposed(), .c = y, .accumulate = accumulate});
}

void DecoderLayer::LinearBackwardInput(ConstView dy, ConstView weight, View dx, bool accumulate) {
  env_.context.kernels.MatMul({.a = dy, .b = weight, .c = dx, .accumulate = accumulate});
}

void DecoderLayer::LinearBackwardWeight(ConstView dy, ConstView x, View dweight) {
  env_.context.kernels.MatMul({.a = dy.Transposed(), .b = x, .c = dweight, .accumulate = true});
}

View DecoderLayer::AllocateQueries(DType dtype, std::string_view owner) {
  return env_.context.memory.Allocate(dtype,
                                      {env_.sequence.batch, env_.sequence.tokens(),
                                       env_.shape.num_attention_heads, env_.shape.head_dim},
                                      MemoryCategory::kActivations, owner);
}

View DecoderLayer::AllocateKeyValues(DType dtype, std::string_view owner) {
  return env_.context.memory.Allocate(
      dtype, {2, env_.sequence.batch, env_.sequence.tokens(), env_.shape.kv_size()},
      MemoryCategory::kActivations, owner);
}

void DecoderLayer::Rotate(View query, View key_value, bool inverse) {
  const View key = Half(key_value, 0)
                       .Reshape({env_.sequence.batch, env_.sequence.tokens(),
                                 env_.shape.num_key_value_heads, env_.shape.head_dim});
  for (const View& x : {query, key}) {
    env_.context.kernels.Rope(
        {.x = x, .cosine = env_.rope.cosine, .sine = env_.rope.sine, .inverse = inverse});
  }
}

void DecoderLayer::ProjectAttentionInputs(ConstView x, LayerActivations& a) {
  const int64_t rows = env_.sequence.rows();
  env_.context.kernels.RmsNorm({.x = x,
                                .weight = weight_.input_layernorm,
                                .eps = env_.shape.rms_norm_eps,
                                .y = a.input_normed,
                                .rstd = a.input_rstd});
  MemoryScope scope(env_.context.memory);
  View query = a.query, key_value = a.key_value;
  if (env_.attention.exchanges()) {
    constexpr std::string_view kOwner = "attention q, k, v";
    query = AllocateQueries(env_.shape.dtype, kOwner);
    key_value = AllocateKeyValues(env_.shape.dtype, kOwner);
  }
  Linear(a.input_normed, weight_.q_proj, AsRows(query, rows));
  Linear(a.input_normed, weight_.k_proj, AsRows(Half(key_value, 0), rows));
  Linear(a.input_normed, weight_.v_proj, AsRows(Half(key_value, 1), rows));
  Rotate(query, key_value, /*inverse=*/false);
  env_.attention.TakeHeads(query, key_value, a.query, a.key_value);
}

void DecoderLayer::AddAttentionOutput(ConstView x, LayerActivations& a) {
  env_.context.kernels.Copy(x, a.middle);
  Linear(AsRows(a.attention, env_.sequence.rows()), weight_.o_proj, a.middle, /*accumulate=*/true);
}

void DecoderLayer::ExpandMlp(LayerActivations& a) {
  env_.context.kernels.RmsNorm({.x = a.middle,
                                .weight = weight_.post_attention_layernorm,
                                .eps = env_.shape.rms_norm_eps,
                                .y = a.middle_normed,
                                .rstd = a.middle_rstd});
  Linear(a.middle_normed, weight_.gate_proj, a.gate);
  Linear(a.middle_normed, weight_.up_proj, a.up);
  env_.context.kernels.SwiGlu({.gate = a.gate, .up = a.up, .y = a.gated});
}

void DecoderLayer::Forward(ConstView x, LayerActivations& a) {
  ProjectAttentionInputs(x, a);
  env_.attention.Forward(a.query, a.key_value, a.attention, a.log_sum_exp);
  AddAttentionOutput(x, a);
  ExpandMlp(a);
  env_.context.kernels.Copy(a.middle, a.output);
  Linear(a.gated, weight_.down_proj, a.output, /*accumulate=*/true);
}

void DecoderLayer::Recompute(ConstView x, runtime::Recompute recompute, LayerActivations& a) {
  if (RecomputesAttentionInputs(recompute)) {
    ProjectAttentionInputs(x, a);
    AddAttentionOutput(x, a);
  }
  if (RecomputesMlp(recompute)) ExpandMlp(a);
}

void DecoderLayer::BackwardMlp(const LayerActivations& a, View dx) {
  kernels::Kernels& kernels = env_.context.kernels;
  kernels::StackMemory& memory = env_.context.memory;
  MemoryScope scope(memory);
  const View dnormed = memory.Allocate(dx.dtype, {dx.dim(0), dx.dim(1)},
                                       MemoryCategory::kActivations, "mlp gradient");
  {
    MemoryScope wide(memory);
    const View dgated = memory.Allocate(dx.dtype, {dx.dim(0), env_.shape.intermediate_size},
                                        MemoryCategory::kActivations, "mlp gradient");
    LinearBackwardWeight(dx, a.gated, gradient_->down_proj);
    LinearBackwardInput(dx, weight_.down_proj, dgated);
    kernels.SwiGluBackward(
        {.dy = dgated, .gate = a.gate, .up = a.up, .dgate = a.gate, .dup = a.up});
  }
  LinearBackwardWeight(a.gate, a.middle_normed, gradient_->gate_proj);
  LinearBackwardWeight(a.up, a.middle_normed, gradient_->up_proj);
  LinearBackwardInput(a.gate, weight_.gate_proj, dnormed);
  LinearBackwardInput(a.up, weight_.up_proj, dnormed, /*accumulate=*/true);
  kernels.RmsNormBackward({.dy = dnormed,
                           .x = a.middle,
                           .weight = weight_.post_attention_layernorm,
                           .rstd = a.middle_rstd,
                           .dx = dx,
                           .dweight = gradient_->post_attention_layernorm});
}

void DecoderLayer::BackwardAttention(ConstView x, const LayerActivations& a, View dx) {
  constexpr std::string_view kOwner = "attention gradient";
  kernels::StackMemory& memory = env_.context.memory;
  const DecoderShape& shape = env_.shape;
  const int64_t rows = env_.sequence.rows();
  MemoryScope scope(memory);
  const View dquery = AllocateQueries(shape.dtype, kOwner);
  const View dkey_value = AllocateKeyValues(shape.dtype, kOwner);
  {
    MemoryScope output(memory);
    // Sums over the queries of all ranks, f32 until they are complete and rotated.
    const bool is_f32 = shape.dtype == DType::kF32;
    const View sums = is_f32 ? dkey_value : AllocateKeyValues(DType::kF32, kOwner);
    const View dout = AllocateQueries(shape.dtype, kOwner);
    LinearBackwardWeight(dx, AsRows(a.attention, rows), gradient_->o_proj);
    LinearBackwardInput(dx, weight_.o_proj, AsRows(dout, rows));
    env_.attention.Backward({.held_q = a.query,
                             .held_kv = a.key_value,
                             .out = a.attention,
                             .dout = dout,
                             .held_lse = a.log_sum_exp},
                            dquery, sums);
    Rotate(dquery, sums, /*inverse=*/true);
    if (!is_f32) env_.context.kernels.Convert({.from = sums, .to = dkey_value});
  }
  const View dq = AsRows(dquery, rows);
  const View dk = AsRows(Half(dkey_value, 0), rows);
  const View dv = AsRows(Half(dkey_value, 1), rows);
  LinearBackwardWeight(dq, a.input_normed, gradient_->q_proj);
  LinearBackwardWeight(dk, a.input_normed, gradient_->k_proj);
  LinearBackwardWeight(dv, a.input_normed, gradient_->v_proj);
  const View dnormed =
      memory.Allocate(shape.dtype, {rows, shape.hidden_size}, MemoryCategory::kActivations, kOwner);
  LinearBackwardInput(dq, weight_.q_proj, dnormed);
  LinearBackwardInput(dk, weight_.k_proj, dnormed, /*accumulate=*/true);
  LinearBackwardInput(dv, weight_.v_proj, dnormed, /*accumulate=*/true);
  env_.context.kernels.RmsNormBackward({.dy = dnormed,
                                        .x = x,
                                        .weight = weight_.input_layernorm,
                                        .rstd = a.input_rstd,
                                        .dx = dx,
                                        .dweight = gradient_->input_layernorm});
}

void DecoderLayer::Backward(ConstView x, const LayerActivations& a, View dx) {
  BackwardMlp(a, dx);
  BackwardAttention(x, a, dx);
}

}  // namespace annulus::runtime
