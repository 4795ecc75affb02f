#include "parallel/link_clock.h"

#include <algorithm>

namespace annulus::parallel {

LinkLoad::Link* LinkClock::LinkTo(LinkLoad& load, int world_rank) const {
  if (world_rank == rank_) return nullptr;
  const bool near = network_ == nullptr || network_->SameNode(rank_, world_rank);
  return near ? &load.within_node : &load.between_nodes;
}

LinkClock::Flight LinkClock::Start(const LinkLoad& load) {
  Flight flight{.issued_s = clock_.now_s(), .done_s = clock_.now_s(), .copy_s = 0};
  for (const size_t at : {kWithin, kBetween}) {
    const LinkLoad::Link& link = at == kWithin ? load.within_node : load.between_nodes;
    for (const LinkLoad::Side* side : {&link.out, &link.in}) {
      clock_.Note(static_cast<uint64_t>(side->messages));
      clock_.Note(static_cast<uint64_t>(side->bytes));
      if (network_ == nullptr || side->messages == 0) continue;
      const LinkRate& rate = at == kWithin ? network_->within_node : network_->between_nodes;
      const double moving_s = rate.s_per_byte * static_cast<double>(side->bytes);
      double& free_s = side == &link.out ? out_free_s_[at] : in_free_s_[at];
      free_s = std::max(free_s, flight.issued_s) +
               rate.latency_s * static_cast<double>(side->messages) + moving_s;
      flight.done_s = std::max(flight.done_s, free_s);
      if (side == &link.in) flight.copy_s += rate.host_share * moving_s;
    }
  }
  return flight;
}

void LinkClock::Wait(const Flight& flight) {
  const double now_s = clock_.now_s();
  const double end_s = std::max(now_s + flight.copy_s, flight.done_s);
  const double whole_s = flight.done_s - flight.issued_s;
  const double passed = whole_s > 0 ? std::min(1.0, (now_s - flight.issued_s) / whole_s) : 1.0;
  clock_.Copy(flight.copy_s * passed);
  clock_.StandUntil(end_s);
}

}  // namespace annulus::parallel
