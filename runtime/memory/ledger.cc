#include "runtime/memory/ledger.h"

#include <algorithm>

#include "kernels/base/error.h"

namespace annulus::runtime {

int Ledger::Charge(int64_t bytes, kernels::MemoryCategory category, std::string_view owner,
                   kernels::Reach reach) {
  OfReach& of_reach = reaches_[static_cast<size_t>(reach)];
  of_reach.bytes += bytes;
  of_reach.peak_bytes = std::max(of_reach.peak_bytes, of_reach.bytes);
  auto line = std::find_if(lines_.begin(), lines_.end(), [&](const Line& l) {
    return l.category == category && l.owner == owner;
  });
  if (line == lines_.end()) {
    lines_.push_back({.category = category, .owner = std::string(owner)});
    line = lines_.end() - 1;
  }
  line->bytes += bytes;
  line->own_peak_bytes = std::max(line->own_peak_bytes, line->bytes);
  bytes_ += bytes;
  if (bytes_ > peak_bytes_) {
    peak_bytes_ = bytes_;
    for (Line& l : lines_) l.peak_share_bytes = l.bytes;
  }
  return static_cast<int>(line - lines_.begin());
}

void Ledger::Discharge(int line, int64_t bytes, kernels::Reach reach) {
  Line& entry = lines_.at(static_cast<size_t>(line));
  Check(entry.bytes >= bytes, "{} gives back {} bytes and holds {}", entry.owner, bytes,
        entry.bytes);
  entry.bytes -= bytes;
  bytes_ -= bytes;
  reaches_[static_cast<size_t>(reach)].bytes -= bytes;
}

CategoryBytes Ledger::peak_by_category() const {
  CategoryBytes totals{};
  for (const Line& line : lines_) {
    totals[static_cast<size_t>(line.category)] += line.peak_share_bytes;
  }
  return totals;
}

int64_t Ledger::peak_activation_bytes() const {
  int64_t total = 0;
  for (const Line& line : lines_) {
    if (!IsPersistent(line.category)) total += line.peak_share_bytes;
  }
  return total;
}

}  // namespace annulus::runtime
