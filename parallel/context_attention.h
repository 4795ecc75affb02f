// Attention over a sequence whose tokens are spread over the ranks of a context group, by any
// strategy: the ring driver, with heads exchanged around it where Ulysses groups have more than one
// rank (Jacobs et al. 2023, DeepSpeed-Ulysses; with a ring beside it Fang & Zhao 2024, USP).
#pragma once

#include <span>

#include "parallel/context_group.h"
#include "parallel/head_exchange.h"
#include "parallel/ring_attention.h"

namespace annulus::parallel {

// What the rank of `group` attends with: its share of the query heads of `shape`, and the key/value
// heads that they read. Requires group.ulysses_size() <= shape.heads.
AttentionShape HeldBy(const ContextGroup& group, const AttentionShape& shape);

// Collective: every rank of the group makes the same calls.
//
// A tensor is local, all H heads of this rank's T tokens, or held, with h of the heads and hkv
// key/value heads (HeldBy) of the U*T tokens of its Ulysses group, U = ulysses_size. The ring works
// on held tensors, over the P/U ranks that hold the same heads. With U = 1 both are the same,
// nothing is exchanged, and memory and traffic are the ring's.
//
// With U > 1, besides the ring's own for h and hkv heads of U*T tokens over P/U ranks:
//   memory    Forward the held out. Backward held dq, dkv, out and dout. In each exchange what
//             HeadExchange takes for its tensors.
//   traffic   TakeHeads q and kv; Forward out; Backward out, dout, dq, and dkv in f32. Each
//             tensor's is stated in head_exchange.h.
class ContextAttention {
 public:
  // All must outlive this; what RingAttention asks of partition and masks holds here. The partition
  // is over group.ulysses_size() ranks a member.
  struct Environment {
    kernels::Kernels& kernels;
    kernels::StackMemory& memory;
    const ContextGroup& group;
    const Partition& partition;
    std::span<const kernels::Mask> masks;
    ScheduleSpec schedule = {};  // over the ring
  };
  ContextAttention(const Environment& environment, const AttentionShape& shape);
  ContextAttention(const ContextAttention&) = delete;
  ContextAttention& operator=(const ContextAttention&) = delete;

  bool exchanges() const { return environment_.group.ulysses_size() > 1; }

  // Local q [B,T,H,D] and kv [2,B,T,Hkv*D], keys then values, of one dtype. Overwrites held_q
  // [B,U*T,h,D] and held_kv [2,B,U*T,hkv*D]. With U = 1 they are q and kv themselves.
  void TakeHeads(ConstView q, ConstView kv, View held_q, View held_kv);

  // Overwrites out, local [B,T,H,D], and held_lse [B,h,U*T] f32.
  void Forward(ConstView held_q, ConstView held_kv, View out, View held_lse);

  struct BackwardInputs {
    ConstView held_q;
    ConstView held_kv;
    ConstView out;   // local
    ConstView dout;  // local
    ConstView held_lse;
  };
  // Overwrites dq [B,T,H,D], of q's dtype, and dkv [2,B,T,Hkv*D], f32, both local: the gradients of
  // this rank's own tokens, summed over the queries of all ranks.
  void Backward(const BackwardInputs& inputs, View dq, View dkv);

 private:
  // A tensor of this size in the held layout, for one call.
  View AllocateQueries(kernels::DType dtype);
  View AllocateKeys(kernels::DType dtype);
  // Keys and values as N = 2*B sequences of heads.
  template <class AnyView>
  static AnyView AsHeads(const AnyView& kv, const AttentionShape& shape);

  Environment environment_;
  AttentionShape shape_;
  HeadLayout layout_;
  AttentionShape held_;
  Partition members_;
  RingAttention ring_;
  HeadExchange exchange_;
};

}  // namespace annulus::parallel
