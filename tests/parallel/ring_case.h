// One problem of ring attention, random, and what a group of ranks makes of it: shared by the tests
// of results, of cost and of bits.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <ostream>
#include <string>
#include <vector>

#include "kernels/base/view.h"
#include "parallel/communicator.h"
#include "parallel/context_attention.h"
#include "parallel/partition.h"
#include "parallel/schedule.h"
#include "tests/reference/attention_reference.h"

namespace annulus::parallel {

constexpr int64_t kHeads = 4;
constexpr int64_t kHeadDim = 20;
constexpr int64_t kBatch = 2;

struct RingCase {
  int ranks;
  PartitionKind partition;
  kernels::MaskKind mask;
  int64_t kv_heads;
  int64_t length;
  kernels::DType dtype = kernels::DType::kF32;
  int ulysses = 1;  // of the ranks, those that spread the heads among them
  int64_t heads = kHeads;
  int node = 0;  // ranks that follow each other and read each other's keys in place; 0: none do

  int ring() const { return ranks / ulysses; }
  Partition MakePartition() const { return {partition, length, ring(), ulysses}; }

  std::vector<int> MemoryNodes() const {
    std::vector<int> nodes;
    for (int rank = 0; rank < ranks && node > 0; ++rank) nodes.push_back(rank / node);
    return nodes;
  }

  friend void PrintTo(const RingCase& c, std::ostream* out) {
    std::string mask(kernels::NameOf(c.mask));
    std::replace(mask.begin(), mask.end(), '-', '_');
    *out << fmt::format("P{}_{}_{}_h{}_kv{}_n{}_{}_U{}_N{}", c.ranks, NameOf(c.partition), mask,
                        c.heads, c.kv_heads, c.length, NameOf(c.dtype), c.ulysses, c.node);
  }
};

// Every schedule that differs from the others on so many ranks.
std::vector<ScheduleSpec> SchedulesFor(int ranks);
std::string Describe(const ScheduleSpec& schedule);

// All tokens of the sequences, [B,n,heads,D].
struct Whole {
  explicit Whole(const RingCase& c);

  const kernels::Mask& MaskOf(int64_t b) const {
    return masks[masks.size() == 1 ? 0 : static_cast<size_t>(b)];
  }

  int64_t length;
  AttentionShape shape;
  std::vector<kernels::Mask> masks;
  reference::AttentionInputs inputs;
  std::vector<float> dout;
};

// What a rank's run took.
struct RankCost {
  int64_t bytes_sent = 0;
  int64_t messages = 0;
  int64_t peak_bytes = 0;
  int64_t flops = 0;
  int64_t key_slots_bytes = 0;       // part of the memory: keys in flight
  int64_t gradient_slots_bytes = 0;  // and their gradients

  bool operator==(const RankCost&) const = default;
  friend void PrintTo(const RankCost& cost, std::ostream* out) {
    *out << fmt::format("{} bytes in {} messages, {} bytes of memory, {} FLOPs", cost.bytes_sent,
                        cost.messages, cost.peak_bytes, cost.flops);
  }
};

// Sanitizers take five to ten times as long and look for what does not depend on the numbers: they
// get one case in three, or in ten for ThreadSanitizer, spread over all that vary.
std::vector<RingCase> ForThisBuild(const std::vector<RingCase>& cases);

// The cases, each without shared memory and with nodes of another size, up to one for all ranks.
std::vector<RingCase> WithNodes(const std::vector<RingCase>& cases);

// Of the whole sequences, put together from what the ranks computed.
struct RingResults {
  RingResults(const Whole& whole, int ranks);

  std::vector<float> out, lse, dq, dk, dv;
  std::vector<RankCost> cost;     // by rank
  int64_t peer_bytes_mapped = 0;  // the most of a rank
};

// How ranks differ from each other; both may be left out.
struct RankSetup {
  std::function<void(int rank)> before = {};  // runs first
  std::function<int64_t(int rank)> memory_bytes = {};
};

// Runs forward and backward on this rank and puts its tokens' results into `results`, which is all
// ranks' if they share memory.
void RunRingRank(const Whole& whole, const RingCase& c, const ScheduleSpec& schedule,
                 Communicator& context, int64_t memory_bytes, RingResults& results);

// On all ranks, as threads.
RingResults RunRing(const Whole& whole, const RingCase& c, const ScheduleSpec& schedule,
                    const RankSetup& setup = {});

// The same program dry, one rank of it.
RankCost RunRingDry(const Whole& whole, const RingCase& c, const ScheduleSpec& schedule, int rank);

}  // namespace annulus::parallel
