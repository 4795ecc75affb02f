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

  // `own` [2,B,T,Hkv*D] is what kOwn stands for, and what peers read in place. Pushes the stream's
  // slots, each of own's shape and dtype, on `memory`. All must outlive this.
  BlockExchange(const Route& route, kernels::StackMemory& memory, const ConstView& own);
  // A stream that writes its own tensor too.
  BlockExchange(const Route& route, kernels::StackMemory& memory, const View& own);

  // Completes what is due at `point` or before, in the order of its start; a message that adds is
  // added to the own tensor. Throws what Transfer::Wait() throws.
  void Wait(int point);
  // What was read in place since Wait(point) may be written again: to be called after the fold, and
  // before anything else is waited for.
  void Return();
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

  struct Borrowed {
    const BlockMessage* message;
    Loan loan;
  };

  void Begin(const BlockMessage& message);
  Transfer Post(const BlockMessage& message) const;
  size_t IndexInPlace(int slot) const;

  Route route_;
  ConstView own_;
  View writable_own_;
  std::vector<View> slots_;
  std::vector<ConstView> in_place_;  // the slots after those, where they are open
  size_t started_ = 0;               // messages of the stream
  std::vector<Pending> pending_;     // completes before the buffers go
  // Not returned. Last: a rank that fails returns what it reads before it waits for who reads its
  // own, who may be failing too.
  std::vector<Borrowed> borrowed_;
};

}  // namespace annulus::parallel
