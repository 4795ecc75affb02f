// Attention over a sequence whose tokens are spread over the ranks of a context group: the one
// driver of every schedule (schedule.h), forward and backward.
#pragma once

#include <span>
#include <vector>

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
// Sequences that share a mask are one problem to the kernels. Those that have masks of their own
// are a problem each, but travel together: a block moves on where any of the masks wants it to.
//
// Memory taken from the stack during a call, beside what kernels take, in blocks of keys and values
// (2*B*T*Hkv*D elements): keys in kv's dtype, in backward also gradients in f32. For P > 1, with w
// ranks to a node, N = P/w, d blocks in flight, and where the masks let all attend to all:
//
//   schedule        keys                        gradients   keys sent   gradients sent
//   ring            min(P-1, 2)                 min(P, 3)   P-1         P-1
//   all-gather      P-1, or min(P-1, d)         min(P, 3)   P-1         P-1
//   double ring     min(w-1, 2) + min(N-1, 2)   min(P, 3)   P-1         P-1
//
// Keys are sent in forward and again in backward. Those that `context` lets a rank read in place
// (Communicator::SharesMemory) are neither held nor sent; kv must then lie in memory that can be
// lent, and stays as it is until the call returns. Where masks rule blocks out, nothing is sent
// that no rank wants and no more keys are held; but a ring may hold 4 gradients, for a rank's own
// may come home early, and a double ring 5, for a sum may wait for its next lap too. P = 1 takes
// none.
class RingAttention {
 public:
  // All must outlive this. `masks` is one for all sequences or one for each, the same on every
  // rank, and so is `schedule`. Requires partition.ranks() == context.size(), mask.length ==
  // partition.length(). Throws ConfigError when a double ring's `inner` does not divide the ranks.
  RingAttention(kernels::Kernels& kernels, kernels::StackMemory& memory, Communicator& context,
                const Partition& partition, std::span<const kernels::Mask> masks,
                const ScheduleSpec& schedule = {});

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
  // Sequences [first, first + count) of a batch, which share a mask.
  struct Group {
    const kernels::Mask& mask;
    int64_t first;
    int64_t count;

    // Their part of a tensor with the sequences along its first dim.
    template <class AnyView>
    AnyView Of(const AnyView& all) const {
      return all.Slice(0, first, count);
    }
  };
  std::vector<Group> GroupsOf(const AttentionShape& shape) const;

  kernels::AttentionProblem ProblemOf(const AttentionShape& shape, const Group& group,
                                      kernels::DType dtype) const;
  // Keys that are folded in together: a block's tokens from `begin` on.
  struct Keys {
    int64_t begin = 0;
    kernels::Positions positions;

    Keys Slice(int64_t from, int64_t count) const {
      return {begin + from, positions.Slice(from, count)};
    }
    // Their part of a tensor with the block's tokens along dim 1.
    template <class AnyView>
    AnyView Of(const AnyView& block) const {
      return block.Slice(1, begin, positions.tokens());
    }
  };
  // The keys at hand in `step`; none where there are none.
  Keys KeysOf(const ScheduleStep& step) const;

  static kernels::KeyBlock BlockOf(const AttentionShape& shape, const Group& group,
                                   const Keys& keys, const ConstView& kv);
  static kernels::KeyBlockGradient GradientOf(const AttentionShape& shape, const Group& group,
                                              const Keys& keys, const View& dkv);
  // The groups of which any local query attends to any key of `keys`, by index.
  std::vector<size_t> Attending(const std::vector<Group>& groups,
                                const kernels::Positions& keys) const;
  // By step, the groups that attend in it.
  std::vector<std::vector<size_t>> AttendingByStep(const std::vector<Group>& groups) const;
  Schedule ScheduleOf(const ScheduleSpec& spec) const;

  kernels::Kernels& kernels_;
  kernels::StackMemory& memory_;
  Communicator& context_;
  const Partition& partition_;
  std::span<const kernels::Mask> masks_;
  kernels::Positions queries_;
  Schedule schedule_;
};

}  // namespace annulus::parallel
