#include "parallel/context_attention.h"

#include <array>

#include "kernels/base/error.h"

namespace annulus::parallel {
namespace {

using kernels::DType;
using kernels::MemoryCategory;
using kernels::MemoryScope;

constexpr std::string_view kOwner = "heads of all tokens";

HeadLayout LayoutOf(const ContextGroup& group, const AttentionShape& shape) {
  return LayOutHeads(shape.heads, shape.kv_heads, group.ulysses_size());
}

AttentionShape Held(const HeadLayout& layout, int ulysses_rank, AttentionShape shape) {
  shape.heads = layout.queries.count(ulysses_rank);
  shape.kv_heads = layout.keys.count(ulysses_rank);
  return shape;
}

}  // namespace

AttentionShape HeldBy(const ContextGroup& group, const AttentionShape& shape) {
  return Held(LayoutOf(group, shape), group.ulysses().rank(), shape);
}

ContextAttention::ContextAttention(const Environment& environment, const AttentionShape& shape)
    : environment_(environment),
      shape_(shape),
      layout_(LayoutOf(environment.group, shape)),
      held_(Held(layout_, environment.group.ulysses().rank(), shape)),
      members_(environment.partition.OfMembers()),
      ring_(environment.kernels, environment.memory, environment.group.ring(), members_,
            environment.masks, environment.schedule),
      exchange_(environment.kernels, environment.memory, environment.group.ulysses()) {
  Check(environment.partition.ranks() == environment.group.all().size(),
        "a partition over {} ranks in a group of {}", environment.partition.ranks(),
        environment.group.all().size());
}

View ContextAttention::AllocateQueries(DType dtype) {
  return environment_.memory.Allocate(
      dtype, {held_.batch, members_.local_tokens(), held_.heads, held_.head_dim},
      MemoryCategory::kRing, kOwner);
}

View ContextAttention::AllocateKeys(DType dtype) {
  return environment_.memory.Allocate(
      dtype, {2, held_.batch, members_.local_tokens(), held_.kv_heads * held_.head_dim},
      MemoryCategory::kRing, kOwner);
}

template <class AnyView>
AnyView ContextAttention::AsHeads(const AnyView& kv, const AttentionShape& shape) {
  return kv.Reshape({2 * shape.batch, kv.dim(2), shape.kv_heads, shape.head_dim});
}

void ContextAttention::TakeHeads(ConstView q, ConstView kv, View held_q, View held_kv) {
  if (!exchanges()) {
    Check(q.data == held_q.data && kv.data == held_kv.data, "heads that stay where they are");
    return;
  }
  const std::array<HeadsOut, 2> tensors = {
      {{&layout_.queries, q, held_q},
       {&layout_.keys, AsHeads(kv, shape_), AsHeads(held_kv, held_)}}};
  exchange_.Out(tensors);
}

void ContextAttention::Forward(ConstView held_q, ConstView held_kv, View out, View held_lse) {
  if (!exchanges()) return ring_.Forward(held_, held_q, held_kv, out, held_lse);
  MemoryScope scope(environment_.memory);
  const View held_out = AllocateQueries(held_q.dtype);
  ring_.Forward(held_, held_q, held_kv, held_out, held_lse);
  const std::array<HeadsHome, 1> tensors = {{{&layout_.queries, held_out, out}}};
  exchange_.Home(tensors);
}

void ContextAttention::Backward(const BackwardInputs& inputs, View dq, View dkv) {
  RingAttention::BackwardInputs held{inputs.held_q, inputs.held_kv, inputs.out, inputs.dout,
                                     inputs.held_lse};
  if (!exchanges()) return ring_.Backward(held_, held, dq, dkv);
  MemoryScope scope(environment_.memory);
  const View held_dq = AllocateQueries(inputs.held_q.dtype);
  const View held_dkv = AllocateKeys(DType::kF32);
  {
    MemoryScope given(environment_.memory);
    const View out = AllocateQueries(inputs.out.dtype), dout = AllocateQueries(inputs.dout.dtype);
    const std::array<HeadsOut, 2> tensors = {
        {{&layout_.queries, inputs.out, out}, {&layout_.queries, inputs.dout, dout}}};
    exchange_.Out(tensors);
    held.out = out;
    held.dout = dout;
    ring_.Backward(held_, held, held_dq, held_dkv);
  }
  const std::array<HeadsHome, 2> tensors = {
      {{&layout_.queries, held_dq, dq},
       {&layout_.keys, AsHeads(held_dkv, held_), AsHeads(dkv, shape_)}}};
  exchange_.Home(tensors);
}

}  // namespace annulus::parallel
