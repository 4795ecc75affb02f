// Ring attention over a group of ranks as a workload of each, and what it takes by a dry run.
#pragma once

#include <cstdint>

#include "kernels/base/dry_clock.h"
#include "parallel/communicator.h"
#include "parallel/partition.h"
#include "parallel/ring_attention.h"
#include "runtime/bench/attention_workload.h"
#include "runtime/machine/machine_model.h"

namespace annulus::runtime {

struct RingCase {
  AttentionCase attention;  // of the whole sequence
  parallel::PartitionKind partition = parallel::PartitionKind::kZigzag;
};

// This rank's part. A forward and a backward pass are collective over `context`, which must outlive
// this.
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
  parallel::Partition partition_;
  parallel::AttentionShape shape_;
  parallel::RingAttention ring_;
  int64_t pair_features_;
  kernels::View q_, kv_, out_, lse_;  // [B,T,H,D], [2,B,T,Hkv*D], [B,T,H,D], [B,H,T]
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
  int64_t peak_bytes = 0;
};

// Of `rank` of a group of `ranks`, run dry. Throws ConfigError where `machine`, which may be null,
// lacks a rate.
RingForecast ForecastRank(const RingCase& ring, const kernels::KernelTable& table, int rank,
                          int ranks, const MachineModel* machine);

// Of all ranks: the times of the slowest in each pass, bytes of all, the greatest peak.
RingForecast ForecastRing(const RingCase& ring, const kernels::KernelTable& table, int ranks,
                          const MachineModel* machine);

}  // namespace annulus::runtime
