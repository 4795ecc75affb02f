// The all-to-all around attention that trades tokens for heads and back, within a Ulysses group
// (Jacobs et al. 2023, DeepSpeed-Ulysses).
#pragma once

#include <span>

#include "kernels/base/kernels.h"
#include "kernels/base/memory.h"
#include "parallel/communicator.h"
#include "parallel/head_layout.h"

namespace annulus::parallel {

// Of a tensor at home, [N,T,heads,D]: all heads of this rank's T tokens. Away, [N,U*T,held,D]: the
// heads that `map` gives this rank, of the tokens of all U ranks one after the other. Both
// contiguous, of one dtype. N counts what comes before the tokens, sequences as a rule.
struct HeadsOut {
  const HeadMap* map = nullptr;
  ConstView home = {};
  View away = {};
};
struct HeadsHome {
  const HeadMap* map = nullptr;
  ConstView away = {};
  View home = {};
};

// Collective: every rank of `group` makes the same calls. Messages are point to point, one for each
// n and peer, all tensors of a call at once.
//
// Sent per tensor by rank u, in elements: out N*T*D times the heads that the others hold; home
// N*T*D * (U-1) times those that u holds. With heads that divide evenly and no head held twice,
// (U-1)/U of the tensor at home each way. Memory taken during a call: outwards what is sent, in
// contiguous pieces; homewards what is received, N*T*D times the heads that the others hold.
class HeadExchange {
 public:
  // All must outlive this.
  HeadExchange(kernels::Kernels& kernels, kernels::StackMemory& memory, Communicator& group)
      : kernels_(kernels), memory_(memory), group_(group) {}

  // Overwrites every `away`.
  void Out(std::span<const HeadsOut> tensors);

  // Overwrites every `home`, all of whose heads are held somewhere. A head that is held more than
  // once comes home as the sum, f32, in the order of ranks and of their places.
  void Home(std::span<const HeadsHome> tensors);

 private:
  kernels::Kernels& kernels_;
  kernels::StackMemory& memory_;
  Communicator& group_;
};

}  // namespace annulus::parallel
