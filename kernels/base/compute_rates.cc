#include "kernels/base/compute_rates.h"

#include <algorithm>
#include <cmath>
#include <tuple>

#include "kernels/base/error.h"

namespace annulus::kernels {
namespace {

auto KeyOf(const ComputeRates::Entry& entry) {
  return std::tuple(entry.work, entry.dtype, entry.head_dim);
}

// (1 - part) * a + part * b.
KernelRate Between(const KernelRate& a, const KernelRate& b, double part) {
  const auto mix = [part](double x, double y) { return x + part * (y - x); };
  return {.overhead_s = mix(a.overhead_s, b.overhead_s),
          .s_per_flop = mix(a.s_per_flop, b.s_per_flop),
          .s_per_byte = mix(a.s_per_byte, b.s_per_byte),
          .s_per_cached_byte = mix(a.s_per_cached_byte, b.s_per_cached_byte),
          .cache_bytes = a.cache_bytes};
}

}  // namespace

double KernelRate::CachedPart(double bytes) const {
  const auto cache = static_cast<double>(cache_bytes);
  if (cache == 0 || bytes >= kFar * cache) return 0;
  return bytes <= cache ? 1 : 1 - std::log(bytes / cache) / std::log(kFar);
}

double KernelRate::Seconds(int64_t flops, int64_t bytes) const {
  const auto of_bytes = static_cast<double>(bytes);
  const double cached = CachedPart(of_bytes);
  return overhead_s + s_per_flop * static_cast<double>(flops) +
         (cached * s_per_cached_byte + (1 - cached) * s_per_byte) * of_bytes;
}

void ComputeRates::Add(const Entry& entry) {
  const auto at = std::lower_bound(
      entries_.begin(), entries_.end(), entry,
      [](const Entry& left, const Entry& right) { return KeyOf(left) < KeyOf(right); });
  Check(at == entries_.end() || KeyOf(*at) != KeyOf(entry), "two rates of {} in {} at head size {}",
        NameOf(entry.work), NameOf(entry.dtype), entry.head_dim);
  entries_.insert(at, entry);
}

KernelRate ComputeRates::Of(const CallCost& cost) const {
  const Entry* below = nullptr;
  const Entry* above = nullptr;
  for (const Entry& entry : entries_) {
    if (entry.work != cost.work || entry.dtype != cost.dtype) continue;
    if (entry.head_dim <= cost.head_dim) below = &entry;
    if (entry.head_dim >= cost.head_dim && above == nullptr) above = &entry;
  }
  if (below == nullptr && above == nullptr) {
    ThrowConfigError("the machine file has no rate of {} in {}: add a section [{} {}{}]",
                     NameOf(cost.work), NameOf(cost.dtype), NameOf(cost.work), NameOf(cost.dtype),
                     IsAttention(cost.work) ? fmt::format(" {}", cost.head_dim) : "");
  }
  if (below == nullptr || above == nullptr || below == above) {
    return (below == nullptr ? above : below)->rate;
  }
  const auto log = [](int64_t head_dim) { return std::log(static_cast<double>(head_dim)); };
  const double part =
      (log(cost.head_dim) - log(below->head_dim)) / (log(above->head_dim) - log(below->head_dim));
  return Between(below->rate, above->rate, part);
}

}  // namespace annulus::kernels
