// The learning rate of a step: linear warm-up from 0, then decay to a minimum at the last step.
#pragma once

#include <cstdint>

#include "runtime/config/run_config.h"

namespace annulus::runtime {

// `step` counts from 0. Cosine decay after Loshchilov & Hutter 2017 (SGDR, one cycle).
double LearningRateAt(int64_t step, int64_t total_steps, const OptimizerOptions& options);

}  // namespace annulus::runtime
