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
