// The masks that a benchmark knows by name.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "kernels/base/mask.h"
#include "runtime/config/run_config.h"

namespace annulus::runtime {

// The name that option bench.mask gives it.
std::string_view NameOf(BenchMask mask);

// A mask with what it refers to. Moves; a copy would refer to the original.
struct OwnedMask {
  std::vector<int64_t> document_starts;
  kernels::Mask mask;

  OwnedMask() = default;
  OwnedMask(OwnedMask&&) = default;
  OwnedMask& operator=(OwnedMask&&) = default;
};

// A mask over n tokens. `window` tokens are the window's and the mean of a document's (their
// lengths vary from 1 to 2 * window - 1); the block-sparse ones are what a run with that
// attention.pattern trains on.
OwnedMask MakeBenchMask(BenchMask kind, int64_t n, int64_t window);

// Allowed pairs of n queries and n keys.
int64_t AllowedPairs(const kernels::Mask& mask);

}  // namespace annulus::runtime
