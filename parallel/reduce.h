// The sum that an all-reduce takes.
#pragma once

#include <cstdint>
#include <span>

namespace annulus::parallel {

// out[i] = the sum of sources[0][i], sources[1][i], ... in that order, accumulated in f64 and
// rounded to f32 once. `out` may be one of the sources.
void SumInRankOrder(std::span<const float* const> sources, float* out, int64_t count);

}  // namespace annulus::parallel
