// The time of a step that runs dry: one clock for what a rank computes, which what it has under way
// meets where it is waited for. Dry tables and dry communicators advance it (parallel/link_clock.h
// has the links).
#pragma once

#include <array>
#include <cstdint>

#include "kernels/base/call_cost.h"
#include "kernels/base/compute_rates.h"

namespace annulus::kernels {

// Seconds so far. What is computed, copied and exposed adds up to the time of the clock.
struct DryTimes {
  std::array<double, kRateClasses> compute_s{};
  double copy_s = 0;     // the host moved messages while a kernel could have run
  double exposed_s = 0;  // the host stood in an exchange

  double compute_of(RateClass work) const { return compute_s[static_cast<size_t>(work)]; }
  double total_s() const;
  DryTimes operator-(const DryTimes& before) const;
};

class DryClock {
 public:
  // Without rates nothing takes time; calls are noted all the same. `rates` must outlive this.
  explicit DryClock(const ComputeRates* rates = nullptr) : rates_(rates) {}
  DryClock(const DryClock&) = delete;
  DryClock& operator=(const DryClock&) = delete;

  double now_s() const { return now_s_; }
  const DryTimes& times() const { return times_; }

  // A kernel call: takes its time. Throws ConfigError where the rates have none for it.
  void Compute(const CallCost& cost);
  // The host moves messages for so long.
  void Copy(double seconds);
  // The host stands until then; not at all where that has passed.
  void StandUntil(double moment_s);
  // What a call would take; 0 without rates.
  double SecondsOf(const CallCost& cost) const;

  // A number that stands for all that was noted, in order: two ranks of the same number did the
  // same. (Two different ones may share it once in 2^64.)
  uint64_t fingerprint() const { return fingerprint_; }
  void Note(uint64_t event);

 private:
  const ComputeRates* rates_;
  double now_s_ = 0;
  DryTimes times_;
  uint64_t fingerprint_ = 0xcbf29ce484222325ULL;
};

}  // namespace annulus::kernels
