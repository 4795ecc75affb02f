// Walks the runs of a rank's positions, so that sources copy runs and never look up single tokens.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/base/positions.h"

namespace annulus::runtime {

// Calls fill(run, tokens, labels) for the part of each run that lies below `length`, with the
// places of its first token and label, and makes the rest padding: token 0, label -1.
template <class Fill>
void FillRuns(int64_t length, const kernels::Positions& positions, int32_t* tokens, int32_t* labels,
              const Fill& fill) {
  for (int r = 0; r < positions.runs(); ++r) {
    const kernels::PositionRun run = positions.run(r);
    const int64_t below =
        run.start < length ? (length - run.start + run.stride - 1) / run.stride : 0;
    const int64_t held = std::min(below, run.count);
    if (held > 0) fill(run.Sub(0, held), tokens, labels);
    std::fill(tokens + held, tokens + run.count, 0);
    std::fill(labels + held, labels + run.count, -1);
    tokens += run.count;
    labels += run.count;
  }
}

}  // namespace annulus::runtime
