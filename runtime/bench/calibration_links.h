// What messages cost between ranks, measured.
#pragma once

#include <vector>

#include "kernels/base/kernel_table.h"
#include "parallel/communicator.h"
#include "parallel/link_clock.h"
#include "runtime/bench/rate_fit.h"

namespace annulus::runtime {

// Whom this rank sends to and receives from, in a ring of ranks that do likewise.
struct Neighbours {
  int next = 0;
  int previous = 0;
};

struct LinkSamples {
  std::vector<RateSample> messages;  // `bytes` sent and received at once
};

// Exchanges of several sizes, medians over `rounds`. Collective.
LinkSamples MeasureMessages(parallel::Communicator& world, const Neighbours& neighbours,
                            int64_t rounds);

// Seconds for each byte of a part that an all-reduce sums: what a large one takes beyond its
// messages at the rates of `network`, over (ranks of it) * its own part; 0 where that is nothing.
// Median over `rounds`. Collective.
double MeasureReduction(parallel::Communicator& world, const parallel::NetworkRates& network,
                        int64_t rounds);

struct HostShareSetup {
  kernels::KernelTable& table;
  parallel::LinkRate link;
  int64_t rounds = 1;
};
// How much longer an attention takes with a message under way, over the time the message's bytes
// take: 0 to 1. Median over rounds in which both are measured by turns. Collective.
double MeasureHostShare(parallel::Communicator& world, const Neighbours& neighbours,
                        const HostShareSetup& setup);

}  // namespace annulus::runtime
