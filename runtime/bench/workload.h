// A piece of a training step that a benchmark runs in memory of its own.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "kernels/base/kernels.h"
#include "runtime/bench/stopwatch.h"
#include "runtime/memory/arena.h"

namespace annulus::runtime {

// What a workload computes with and pushes its tensors on. Both outlive it.
struct WorkloadContext {
  kernels::Kernels& kernels;
  kernels::StackMemory& memory;
};

// The constructor pushes inputs and outputs of the forward pass; a round is Forward,
// PrepareBackward, Backward, and whoever calls them pops what they pushed. A workload runs dry as
// well as real, so that what it needs is known before it is reserved.
class Workload {
 public:
  virtual ~Workload() = default;

  // Sets the inputs to random numbers, the same every time.
  virtual void Fill() = 0;
  // Pushes what it keeps for backward.
  virtual void Forward() = 0;
  // Pushes the gradients, that of the output set to the output itself: the loss is half its square.
  virtual void PrepareBackward() = 0;
  virtual void Backward() = 0;

  // FLOPs that the result needs, whatever the implementation spends.
  virtual int64_t forward_flops() const = 0;
  virtual int64_t backward_flops() const = 0;
};

using MakeWorkload = std::function<std::unique_ptr<Workload>(const WorkloadContext&)>;

// Peaks of the ledger: inputs, outputs, what is kept, state and scratch.
struct Footprint {
  int64_t forward_bytes = 0;
  int64_t backward_bytes = 0;    // with what forward kept
  int64_t activation_bytes = 0;  // the latter without weights and their gradients
};

// By a dry run.
Footprint FootprintOf(const MakeWorkload& make, const kernels::KernelTable& table);

// A workload in an arena of exactly its footprint.
class Contestant {
 public:
  // `table` must outlive this.
  Contestant(const MakeWorkload& make, kernels::KernelTable& table);

  struct PassTimes {
    double forward_s = 0;
    double backward_s = 0;
  };
  PassTimes Run(Clock clock);

  const Footprint& footprint() const { return footprint_; }
  const Workload& workload() const { return *workload_; }
  // What the rounds so far really used.
  int64_t peak_bytes() const { return arena_.ledger().peak_bytes(); }

 private:
  Footprint footprint_;
  Arena arena_;
  kernels::Kernels kernels_;
  std::unique_ptr<Workload> workload_;
};

// Uniform in [-sqrt(3) * deviation, sqrt(3) * deviation), the same for the same seed.
void FillRandom(kernels::Kernels& kernels, kernels::View view, uint64_t seed, double deviation = 1);

}  // namespace annulus::runtime
