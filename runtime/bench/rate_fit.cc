#include "runtime/bench/rate_fit.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <optional>

#include "kernels/base/error.h"

namespace annulus::runtime {
namespace {

constexpr size_t kTerms = 4;  // calls, FLOPs, bytes from afar, bytes from the cache
using Terms = std::array<double, kTerms>;

// Calls of a sample are taken to be alike.
Terms TermsOf(const RateSample& sample, int64_t cache_bytes) {
  const double cached =
      kernels::KernelRate{.cache_bytes = cache_bytes}.CachedPart(sample.bytes / sample.calls);
  return {sample.calls, sample.flops, (1 - cached) * sample.bytes, cached * sample.bytes};
}

// Least squares of sum(x_i * term_i / seconds) = 1 over the terms of `set` (bits), by Gaussian
// elimination of the normal equations, scaled to a unit diagonal. Nothing where they are singular.
std::optional<Terms> Solve(std::span<const RateSample> samples, int64_t cache_bytes, unsigned set) {
  std::array<std::array<double, kTerms + 1>, kTerms> a{};
  Terms scale{};
  for (const RateSample& sample : samples) {
    const Terms terms = TermsOf(sample, cache_bytes);
    for (size_t i = 0; i < kTerms; ++i) scale[i] += std::pow(terms[i] / sample.seconds, 2);
  }
  for (size_t i = 0; i < kTerms; ++i) {
    const bool used = (set >> i & 1) != 0;
    if (used && scale[i] == 0) return std::nullopt;
    scale[i] = used ? 1 / std::sqrt(scale[i]) : 0;
    if (!used) a[i][i] = 1;
  }
  for (const RateSample& sample : samples) {
    const Terms terms = TermsOf(sample, cache_bytes);
    for (size_t i = 0; i < kTerms; ++i) {
      const double row = terms[i] * scale[i] / sample.seconds;
      for (size_t j = 0; j < kTerms; ++j) a[i][j] += row * terms[j] * scale[j] / sample.seconds;
      a[i][kTerms] += row;
    }
  }
  for (size_t i = 0; i < kTerms; ++i) {
    if (std::abs(a[i][i]) < 1e-9) return std::nullopt;
    for (size_t row = 0; row < kTerms; ++row) {
      if (row == i) continue;
      const double factor = a[row][i] / a[i][i];
      for (size_t j = i; j <= kTerms; ++j) a[row][j] -= factor * a[i][j];
    }
  }
  Terms solution{};
  for (size_t i = 0; i < kTerms; ++i) solution[i] = a[i][kTerms] / a[i][i] * scale[i];
  return solution;
}

kernels::KernelRate RateOf(const Terms& terms, int64_t cache_bytes) {
  return {.overhead_s = terms[0],
          .s_per_flop = terms[1],
          .s_per_byte = terms[2],
          .s_per_cached_byte = terms[3],
          .cache_bytes = cache_bytes};
}

double RelativeError(const kernels::KernelRate& rate, const RateSample& sample) {
  const Terms terms = TermsOf(sample, rate.cache_bytes);
  const double seconds = rate.overhead_s * terms[0] + rate.s_per_flop * terms[1] +
                         rate.s_per_byte * terms[2] + rate.s_per_cached_byte * terms[3];
  return seconds / sample.seconds - 1;
}

}  // namespace

FitError ErrorOf(const kernels::KernelRate& rate, std::span<const RateSample> samples) {
  FitError error;
  for (const RateSample& sample : samples) {
    const double relative = RelativeError(rate, sample);
    error.greatest = std::max(error.greatest, std::abs(relative));
    error.rms += relative * relative / static_cast<double>(samples.size());
  }
  error.rms = std::sqrt(error.rms);
  return error;
}

namespace {

// The best of all sets of terms whose solution has no negative one and satisfies `accept`: they are
// so few. Nothing where there is none.
template <class Accept>
std::optional<kernels::KernelRate> BestFit(std::span<const RateSample> samples, int64_t cache_bytes,
                                           const Accept& accept) {
  std::optional<kernels::KernelRate> best;
  double least = std::numeric_limits<double>::infinity();
  for (unsigned set = 1; set < 1u << kTerms; ++set) {
    const std::optional<Terms> terms = Solve(samples, cache_bytes, set);
    if (!terms || std::any_of(terms->begin(), terms->end(), [](double x) { return x < 0; })) {
      continue;
    }
    const kernels::KernelRate rate = RateOf(*terms, cache_bytes);
    const double error = ErrorOf(rate, samples).rms;
    if (error >= least || !accept(rate)) continue;
    least = error;
    best = rate;
  }
  return best;
}

}  // namespace

kernels::KernelRate FitRate(std::span<const RateSample> samples, int64_t cache_bytes) {
  Check(!samples.empty(), "a rate of no samples");
  const auto grows = [](const kernels::KernelRate& rate) {
    return rate.s_per_flop > 0 || rate.s_per_byte > 0;
  };
  if (const auto best = BestFit(samples, cache_bytes, grows)) return *best;
  return BestFit(samples, cache_bytes, [](const kernels::KernelRate&) { return true; }).value();
}

}  // namespace annulus::runtime
