#include "kernels/base/dry_clock.h"

#include <numeric>

namespace annulus::kernels {

double DryTimes::total_s() const {
  return std::accumulate(compute_s.begin(), compute_s.end(), copy_s + exposed_s);
}

DryTimes DryTimes::operator-(const DryTimes& before) const {
  DryTimes times{.copy_s = copy_s - before.copy_s, .exposed_s = exposed_s - before.exposed_s};
  for (size_t c = 0; c < compute_s.size(); ++c) {
    times.compute_s[c] = compute_s[c] - before.compute_s[c];
  }
  return times;
}

double DryClock::SecondsOf(const CallCost& cost) const {
  return rates_ == nullptr ? 0 : rates_->Of(cost).Seconds(cost.flops, cost.bytes);
}

void DryClock::Compute(const CallCost& cost) {
  Note(static_cast<uint64_t>(cost.work));
  Note(static_cast<uint64_t>(cost.flops));
  Note(static_cast<uint64_t>(cost.bytes));
  const double seconds = SecondsOf(cost);
  now_s_ += seconds;
  times_.compute_s[static_cast<size_t>(cost.work)] += seconds;
}

void DryClock::Copy(double seconds) {
  now_s_ += seconds;
  times_.copy_s += seconds;
}

void DryClock::StandUntil(double moment_s) {
  if (moment_s <= now_s_) return;
  times_.exposed_s += moment_s - now_s_;
  now_s_ = moment_s;
}

// FNV-1a, by words (Fowler, Noll & Vo).
void DryClock::Note(uint64_t event) {
  fingerprint_ = (fingerprint_ ^ event) * 0x100000001b3ULL;
  fingerprint_ ^= fingerprint_ >> 32;
}

}  // namespace annulus::kernels
