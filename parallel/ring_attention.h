// Attention over a sequence whose tokens are spread over the ranks of a context group: the one
// driver of every schedule, forward and backward (Liu et al. 2023, Ring Attention).
#pragma once

#include "kernels/base/kernels.h"
#include "kernels/base/memory.h"
#include "parallel/communicator.h"
#include "parallel/partition.h"
#include "parallel/schedule.h"

namespace annulus::parallel {

// What an attention computes, but for who holds which token.
struct AttentionShape {
  int64_t batch = 1;
  int64_t heads = 1;
  int64_t kv_heads = 1;
  int64_t head_dim = 64;
  float scale = 1;
};

// Collective: every rank of `context` makes the same calls.
//
// Memory taken from the stack during a call, in blocks of keys and values (2*B*T*Hkv*D elements):
// forward min(P-1, 2) in flight, in the dtype of kv; backward as many and two of f32 gradients.
// Traffic per rank: forward P-1 blocks of keys; backward P-1 of keys and P of gradients (P > 1).
class RingAttention {
 public:
  // All must outlive this. Requires partition.ranks() == context.size(),
  // mask.length == partition.length().
  RingAttention(kernels::Kernels& kernels, kernels::StackMemory& memory, Communicator& context,
                const Partition& partition, const kernels::Mask& mask);

  // q [B,T,H,D]; kv [2,B,T,Hkv*D], keys then values, the local tokens of this rank in the
  // partition's order. Overwrites out [B,T,H,D] and lse [B,H,T]. f32 or bf16, q's dtype that of kv
  // and out; lse is f32.
  void Forward(const AttentionShape& shape, ConstView q, ConstView kv, View out, View lse);

  struct BackwardInputs {
    ConstView q;
    ConstView kv;
    ConstView out;
    ConstView dout;
    ConstView lse;
  };
  // Overwrites dq [B,T,H,D], like out and dout of q's dtype, and dkv [2,B,T,Hkv*D], f32: the
  // gradients of this rank's own tokens, summed over the queries of all ranks.
  void Backward(const AttentionShape& shape, const BackwardInputs& inputs, View dq, View dkv);

 private:
  struct KeyRing;

  kernels::AttentionProblem ProblemOf(const AttentionShape& shape, kernels::DType dtype) const;
  // Whether any local query attends to any key of `keys`.
  bool Attends(const kernels::Positions& keys) const;

  kernels::Kernels& kernels_;
  kernels::StackMemory& memory_;
  Communicator& context_;
  const Partition& partition_;
  const kernels::Mask& mask_;
  kernels::Positions queries_;
  Schedule schedule_;
};

}  // namespace annulus::parallel
