// How long kernel calls take on some machine: a time for every call, FLOP and byte of a class.
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

  double Seconds(int64_t flops, int64_t bytes) const {
    return overhead_s + s_per_flop * static_cast<double>(flops) +
           s_per_byte * static_cast<double>(bytes);
  }
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
