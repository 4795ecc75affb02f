// Rates from measured times.
#pragma once

#include <span>

#include "kernels/base/compute_rates.h"

namespace annulus::runtime {

struct RateSample {
  double calls = 1;
  double flops = 0;
  double bytes = 0;
  double seconds = 0;
};

// The times for a call, a FLOP, a byte and, where `cache_bytes` is not 0, a cached byte, none of
// them negative, that come nearest to the samples: least squares of the relative errors. What the
// samples do not need stays 0, but a FLOP or a byte costs something wherever they have any: else a
// call of any size would take no longer than a small one. Requires one sample at least and positive
// seconds.
kernels::KernelRate FitRate(std::span<const RateSample> samples, int64_t cache_bytes = 0);

// The greatest relative error of `rate` over the samples, and the root of their mean square.
struct FitError {
  double greatest = 0;
  double rms = 0;
};
FitError ErrorOf(const kernels::KernelRate& rate, std::span<const RateSample> samples);

}  // namespace annulus::runtime
