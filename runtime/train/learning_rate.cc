#include "runtime/train/learning_rate.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace annulus::runtime {

double LearningRateAt(int64_t step, int64_t total_steps, const OptimizerOptions& options) {
  if (step < options.warmup_steps) {
    return options.learning_rate * static_cast<double>(step + 1) /
           static_cast<double>(options.warmup_steps);
  }
  const int64_t decay_steps = std::max<int64_t>(total_steps - 1 - options.warmup_steps, 1);
  const double done = std::min(
      static_cast<double>(step - options.warmup_steps) / static_cast<double>(decay_steps), 1.0);
  double remaining = 1;
  switch (options.decay) {
    case Decay::kConstant:
      return options.learning_rate;
    case Decay::kLinear:
      remaining = 1 - done;
      break;
    case Decay::kCosine:
      remaining = 0.5 * (1 + std::cos(std::numbers::pi * done));
      break;
  }
  return options.min_learning_rate +
         remaining * (options.learning_rate - options.min_learning_rate);
}

}  // namespace annulus::runtime
