// What the ranks of the communicator suite say to each other.
#pragma once

#include <cstdint>

#include "parallel/communicator.h"

namespace annulus::parallel {

// Element i of what rank `rank` says: an integer, so that sums over ranks are exact in f32.
inline float Said(int rank, int64_t i) { return static_cast<float>(1000 * (rank + 1) + i % 997); }

inline int Neighbour(const Communicator& world, int distance) {
  return ((world.rank() + distance) % world.size() + world.size()) % world.size();
}

}  // namespace annulus::parallel
