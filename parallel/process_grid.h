// The ranks of a run on two axes: `data` (different sequences, the same positions) by `context`
// (the same sequences, different positions). The context axis runs fastest,
//   rank = data_index * context_size + context_index,
// so that a ring's neighbours are neighbours in the launcher's order too, on one node where they
// fit.
#pragma once

#include <memory>

#include "parallel/communicator.h"

namespace annulus::parallel {

class ProcessGrid {
 public:
  // Collective over `world`, which must outlive the grid. `context_size` 0 means all ranks. Throws
  // ConfigError, naming the sizes that would do, unless it divides the number of ranks.
  ProcessGrid(Communicator& world, int context_size);

  Communicator& world() const { return world_; }
  // The ranks that share this one's sequences, by position; the ring.
  Communicator& context() const { return *context_; }
  // The ranks that hold this one's positions of other sequences.
  Communicator& data() const { return *data_; }

 private:
  Communicator& world_;
  std::unique_ptr<Communicator> context_;
  std::unique_ptr<Communicator> data_;
};

}  // namespace annulus::parallel
