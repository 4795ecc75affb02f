// Ring attention over a group of ranks as a workload of each, and what it takes by a dry run.
#pragma once

#include <cstdint>

#include "kernels/base/dry_clock.h"
#include "parallel/communicator.h"
#include "parallel/context_attention.h"
#include "parallel/partition.h"
#include "runtime/bench/attention_workload.h"
#include "runtime/config/run_config.h"
#include "runtime/machine/machine_model.h"
#include "runtime/memory/arena.h"
#include "runtime/run/memory_sharing.h"

namespace annulus::runtime {

struct RingCase {
  AttentionCase attention;        // of the whole sequence
  ParallelOptions parallel = {};  // resolved for the ranks it is spread over
  MemorySharing sharing = {};     // among them
};

// This rank's part. A forward and a backward pass are collective over `communicator`, as is the
// constructor, and heads that travel do so within them. It must outlive this.
class RingWorkload final : public Workload {
 public:
  RingWorkload(const RingCase& ring, const WorkloadContext& context,
               parallel::Communicator& communicator);

  void Fill() override;
  void Forward() override;
  void PrepareBackward() override;
  void Backward() override;
  // Of all ranks.
  int64_t forward_flops() const override { return 4 * pair_features_; }
  int64_t backward_flops() const override { return 10 * pair_features_; }

 private:
  WorkloadContext context_;
  OwnedMask mask_;
  parallel::ContextGroup group_;
  parallel::Partition partition_;
  parallel::AttentionShape shape_;
  parallel::ContextAttention attention_;
  int64_t pair_features_;
  kernels::View q_, kv_, out_;                 // [B,T,H,D], [2,B,T,Hkv*D], [B,T,H,D]
  kernels::View held_q_, held_kv_, held_lse_;  // see ContextAttention
  kernels::View dout_, dq_, dkv_;
};

// One pass of one rank, or of all of them.
struct PassForecast {
  kernels::DryTimes times;  // 0 without a machine
  int64_t bytes_sent = 0;
};

struct RingForecast {
  PassForecast forward;
  PassForecast backward;
  ArenaSize memory;
};

// Of `rank` of a group of `ranks`, run dry. Throws ConfigError where `machine`, which may be null,
// lacks a rate.
RingForecast ForecastRank(const RingCase& ring, const kernels::KernelTable& table, int rank,
                          int ranks, const MachineModel* machine);

// Of all ranks: the times of the slowest in each pass, bytes of all.
RingForecast ForecastRing(const RingCase& ring, const kernels::KernelTable& table, int ranks,
                          const MachineModel* machine);

}  // namespace annulus::runtime
