// How long kernel calls take on some machine: a time for every call, FLOP and byte of a class,
// bytes that fit a cache apart from those that do not.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/base/call_cost.h"

namespace annulus::kernels {

// seconds = overhead_s + flops * s_per_flop + bytes * s_per_byte. The sum rather than the greater
// of the two: small and narrow products, and the edges of a mask, cost more than their FLOPs, in
// proportion to what they read and write.
struct KernelRate {
  double overhead_s = 0;
  double s_per_flop = 0;
  double s_per_byte = 0;
  // Of a call of at most `cache_bytes` a byte takes this instead; of one of kFar times as many and
  // more it takes s_per_byte, and in between the two are mixed by the logarithm of the bytes. 0: no
  // cache counts.
  double s_per_cached_byte = 0;
  int64_t cache_bytes = 0;
  static constexpr double kFar = 4;

  // The part of s_per_cached_byte for a call of so many bytes, 0 to 1.
  double CachedPart(double bytes) const;
  double Seconds(int64_t flops, int64_t bytes) const;
  bool operator==(const KernelRate&) const = default;
};

// The rates of one machine, by class and dtype, those of attention by head size as well.
class ComputeRates {
 public:
  struct Entry {
    RateClass work{};
    DType dtype{};
    int64_t head_dim = 0;  // 0 but for attention
    KernelRate rate = {};

    bool operator==(const Entry&) const = default;
  };

  // Adds a rate. Requires that there is none yet of the same class, dtype and head size.
  void Add(const Entry& entry);
  const std::vector<Entry>& entries() const { return entries_; }

  // The rate of a call. Between two head sizes the times are taken to lie on a line over
  // log(head_dim); beyond the least and the greatest the nearest one holds. Throws ConfigError that
  // names the section that is missing.
  KernelRate Of(const CallCost& cost) const;

  bool operator==(const ComputeRates&) const = default;

 private:
  std::vector<Entry> entries_;  // by class, dtype and head size
};

}  // namespace annulus::kernels
