// When messages arrive in a step that runs dry: the links of one rank, which work beside the clock
// of what it computes.
//
// A rank has a link to the ranks of its own node and one to those of other nodes. Each carries one
// transfer after the other in either direction (full duplex): a transfer begins when its host has
// issued it and the link is free, and lasts messages * latency + bytes / bandwidth. A rank's peers
// are taken to be where it is itself: what it receives was sent when it began to wait for it.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "kernels/base/dry_clock.h"

namespace annulus::parallel {

struct LinkRate {
  double latency_s = 0;  // of a message
  double s_per_byte = 0;
  // The part of the time of its bytes for which the receiver's host can do nothing else: 1 where
  // the host copies messages, 0 where a device moves them.
  double host_share = 0;

  bool operator==(const LinkRate&) const = default;
};

struct NetworkRates {
  LinkRate within_node = {};
  LinkRate between_nodes = {};
  // Of an all-reduce, for each byte of a rank's part and of each other rank's that is added to it.
  // 0: as elementwise work.
  double reduce_s_per_byte = 0;
  int ranks_per_node = 0;  // ranks r and s share a node where r / this == s / this; 0: all do

  bool SameNode(int rank, int other) const {
    return ranks_per_node == 0 || rank / ranks_per_node == other / ranks_per_node;
  }
  bool operator==(const NetworkRates&) const = default;
};

// What one operation sends and receives at this rank, apart for the two links.
struct LinkLoad {
  struct Side {
    int64_t messages = 0;
    int64_t bytes = 0;
  };
  struct Link {
    Side out;
    Side in;
  };
  Link within_node;
  Link between_nodes;
};

class LinkClock {
 public:
  // Without `network` nothing takes time. Both must outlive this. `rank`: of the world.
  LinkClock(kernels::DryClock& clock, const NetworkRates* network, int rank)
      : clock_(clock), network_(network), rank_(rank) {}

  kernels::DryClock& clock() { return clock_; }
  const NetworkRates* network() const { return network_; }
  int rank() const { return rank_; }

  // The part of `load` for the peer `world_rank`; nothing for this rank itself.
  LinkLoad::Link* LinkTo(LinkLoad& load, int world_rank) const;

  // What a transfer under way will take.
  struct Flight {
    double issued_s = 0;
    double done_s = 0;
    double copy_s = 0;  // of the host
  };
  // Puts the load on the links, behind what is there.
  Flight Start(const LinkLoad& load);
  // The host waits. It copies beside its kernels as far as the flight has been under way for long
  // enough, and stands for the rest.
  void Wait(const Flight& flight);

 private:
  static constexpr size_t kWithin = 0, kBetween = 1;

  kernels::DryClock& clock_;
  const NetworkRates* network_;
  int rank_;
  std::array<double, 2> out_free_s_{};
  std::array<double, 2> in_free_s_{};
};

}  // namespace annulus::parallel
