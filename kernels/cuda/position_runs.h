// Positions as a kernel's argument.
#pragma once

#include <cstdint>

#include "kernels/base/positions.h"
#include "kernels/cuda/launch.h"

namespace annulus::kernels::cuda {

struct PositionRuns {
  PositionRun run[Positions::kMaxRuns] = {};

  PositionRuns() = default;
  explicit PositionRuns(const Positions& positions) {
    for (int i = 0; i < positions.runs(); ++i) run[i] = positions.run(i);
  }

  // The global position of a local token; Positions::at on a device.
  __device__ int64_t at(int64_t token) const {
#pragma unroll
    for (int i = 0; i < Positions::kMaxRuns; ++i) {
      if (token < run[i].count) return run[i].start + token * run[i].stride;
      token -= run[i].count;
    }
    return -1;
  }
};

}  // namespace annulus::kernels::cuda
