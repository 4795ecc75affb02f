// The messages of one stream of a schedule, at their points and in buffers of their own.
#pragma once

#include <vector>

#include "kernels/base/kernels.h"
#include "kernels/base/memory.h"
#include "parallel/communicator.h"
#include "parallel/schedule.h"

namespace annulus::parallel {

enum class Cargo : uint8_t { kKeys, kGradients };

class BlockExchange {
 public:
  struct Route {
    kernels::Kernels& kernels;
    Communicator& context;
    const BlockStream& stream;
    Cargo cargo;
  };

  // `own` [2,B,T,Hkv*D] is what kOwn stands for. Pushes the stream's slots, each of own's shape and
  // dtype, on `memory`. All must outlive this.
  BlockExchange(const Route& route, kernels::StackMemory& memory, const ConstView& own);
  // A stream that writes its own tensor too.
  BlockExchange(const Route& route, kernels::StackMemory& memory, const View& own);

  // Completes what is due at `point` or before, in the order of its start; a message that adds is
  // added to the own tensor. Throws what Transfer::Wait() throws.
  void Wait(int point);
  // Starts what starts at `point`.
  void Start(int point);

  ConstView At(int slot) const;
  // Requires a stream that writes its own tensor where `slot` is kOwn.
  View Writable(int slot) const;

 private:
  struct Pending {
    const BlockMessage* message;
    Transfer transfer;
  };

  Transfer Post(const BlockMessage& message) const;

  Route route_;
  ConstView own_;
  View writable_own_;
  std::vector<View> slots_;
  size_t started_ = 0;            // messages of the stream
  std::vector<Pending> pending_;  // last: completes before the buffers go
};

}  // namespace annulus::parallel
