// What messages cost between ranks, measured.
#pragma once

#include <vector>

#include "kernels/base/kernel_table.h"
#include "parallel/communicator.h"
#include "parallel/link_clock.h"
#include "runtime/bench/calibration_sizes.h"
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

// What links are measured by. Tensors are where `table` computes, and `group` moves them.
struct LinkSetup {
  kernels::KernelTable& table;
  parallel::Communicator& group;
  const LinkSizes& sizes;
  int64_t rounds = 1;
};

// Exchanges of several sizes, medians over the rounds. Collective.
LinkSamples MeasureMessages(const LinkSetup& setup, const Neighbours& neighbours);

// Seconds for each byte of a part that an all-reduce sums: what a large one takes beyond its
// messages at the rates of `network`, over (ranks of it) * its own part; 0 where that is nothing.
// Median over the rounds. Collective.
double MeasureReduction(const LinkSetup& setup, const parallel::NetworkRates& network);

// How much longer attentions take with a message under way, over the time the message's bytes take
// by `link`: 0 to 1. Median over rounds in which both are measured by turns. Collective.
double MeasureHostShare(const LinkSetup& setup, const Neighbours& neighbours,
                        const parallel::LinkRate& link);

}  // namespace annulus::runtime
