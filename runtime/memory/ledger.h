// The account of every tensor byte of a rank: by category and owner, now and at the peak.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/base/memory.h"

namespace annulus::runtime {

using CategoryBytes = std::array<int64_t, kernels::kMemoryCategories>;

// Parameters, gradients and optimizer state live for the whole run; the rest is what a step costs.
constexpr bool IsPersistent(kernels::MemoryCategory category) {
  return category == kernels::MemoryCategory::kParameters ||
         category == kernels::MemoryCategory::kGradients ||
         category == kernels::MemoryCategory::kOptimizer;
}

class Ledger {
 public:
  // A line of the account. `peak_share_bytes` is its part of the rank's peak, so that the shares
  // add up to it; `own_peak_bytes` is the most the line ever held, perhaps at another moment.
  struct Line {
    kernels::MemoryCategory category{};
    std::string owner;
    int64_t bytes = 0;
    int64_t peak_share_bytes = 0;
    int64_t own_peak_bytes = 0;
  };

  // The line's index, for the matching Discharge.
  int Charge(int64_t bytes, kernels::MemoryCategory category, std::string_view owner,
             kernels::Reach reach = kernels::Reach::kRank);
  void Discharge(int line, int64_t bytes, kernels::Reach reach = kernels::Reach::kRank);

  int64_t bytes() const { return bytes_; }
  int64_t peak_bytes() const { return peak_bytes_; }
  // Of one reach, now and at its own peak; the peaks may be of different moments.
  int64_t bytes(kernels::Reach reach) const { return reaches_[static_cast<size_t>(reach)].bytes; }
  int64_t peak_bytes(kernels::Reach reach) const {
    return reaches_[static_cast<size_t>(reach)].peak_bytes;
  }
  // The peak less what is persistent.
  int64_t peak_activation_bytes() const;
  CategoryBytes peak_by_category() const;
  const std::vector<Line>& lines() const { return lines_; }

 private:
  struct OfReach {
    int64_t bytes = 0;
    int64_t peak_bytes = 0;
  };

  std::vector<Line> lines_;
  std::array<OfReach, kernels::kReaches> reaches_{};
  int64_t bytes_ = 0;
  int64_t peak_bytes_ = 0;
};

}  // namespace annulus::runtime
