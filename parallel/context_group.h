// The ranks that share a sequence, as a grid: Ulysses groups, within which heads are spread, by
// rings, round which keys travel (Fang & Zhao 2024, USP). The Ulysses axis runs fastest,
//   rank = ring_index * ulysses_size + ulysses_index,
// for its exchanges are the ones that nothing hides: neighbours in the launcher's order are on one
// node where they fit.
#pragma once

#include <memory>

#include "parallel/communicator.h"

namespace annulus::parallel {

class ContextGroup {
 public:
  // Collective over `all`, which must outlive this. Requires that `ulysses_size` divides its size.
  ContextGroup(Communicator& all, int ulysses_size);

  Communicator& all() const { return all_; }
  // The ranks that hold the same heads of other tokens.
  Communicator& ring() const { return own_ring_ ? *own_ring_ : all_; }
  // The ranks that hold other heads of the same tokens.
  Communicator& ulysses() const { return own_ulysses_ ? *own_ulysses_ : all_; }
  int ulysses_size() const { return ulysses_size_; }

 private:
  Communicator& all_;
  int ulysses_size_;
  // Null where it is the whole group.
  std::unique_ptr<Communicator> own_ring_;
  std::unique_ptr<Communicator> own_ulysses_;
};

}  // namespace annulus::parallel
