// Counts of allowed (query, key) pairs, remembered: every layer of a step asks for the same ones.
#pragma once

#include <array>
#include <cstdint>
#include <map>

#include "kernels/base/mask.h"
#include "kernels/base/positions.h"

namespace annulus::kernels {

class PairCounter {
 public:
  // mask.CountPairs(queries, keys).
  int64_t Count(const Mask& mask, const Positions& queries, const Positions& keys);

 private:
  // Three numbers for each run of queries and keys, then what defines the mask.
  static constexpr size_t kMaskFields = 10;
  using Key = std::array<int64_t, 2 * 3 * Positions::kMaxRuns + kMaskFields>;
  static Key KeyOf(const Mask& mask, const Positions& queries, const Positions& keys);

  std::map<Key, int64_t> counts_;
};

}  // namespace annulus::kernels
