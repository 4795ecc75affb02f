// What the model's code runs against: a kernel table, a communicator and memory, real or dry.
#pragma once

#include <vector>

#include "kernels/base/kernels.h"
#include "kernels/base/memory.h"
#include "parallel/communicator.h"
#include "parallel/partition.h"

namespace annulus::runtime {

struct StepContext {
  kernels::Kernels& kernels;
  kernels::StackMemory& memory;
  parallel::Communicator& world;    // data x context: gradients and losses are summed over it
  parallel::Communicator& context;  // the ranks that share a sequence
};

// How the sequences of a micro-batch lie over the ranks of a context group.
struct SequenceShape {
  int64_t batch = 1;  // B
  parallel::Partition partition;
  // Of partition.length() tokens: one for all sequences, or one for each.
  std::vector<kernels::Mask> masks;

  int64_t tokens() const { return partition.local_tokens(); }  // T
  int64_t rows() const { return batch * tokens(); }            // N
};

}  // namespace annulus::runtime
