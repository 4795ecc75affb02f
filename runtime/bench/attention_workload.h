// One attention over a whole sequence as a workload: by the fused kernel, or naively.
#pragma once

#include "runtime/bench/bench_mask.h"
#include "runtime/bench/workload.h"
#include "runtime/config/run_config.h"

namespace annulus::runtime {

struct AttentionCase {
  int64_t n = 0;  // queries and keys
  int64_t batch = 1;
  int64_t heads = 1;
  int64_t kv_heads = 1;
  int64_t head_dim = 64;
  kernels::DType dtype = kernels::DType::kF32;
  BenchMask mask = BenchMask::kCausal;
  int64_t window = 1;  // see MakeBenchMask
};

// The name that option bench.implementation gives it.
std::string_view NameOf(AttentionMethod method);

// All are of the case's dtype unless said otherwise.
struct AttentionTensors {
  kernels::View q;    // [B,n,H,D]
  kernels::View k;    // [B,n,Hkv,D]
  kernels::View v;    // [B,n,Hkv,D]
  kernels::View out;  // [B,n,H,D]
  // After PrepareBackward:
  kernels::View dout;  // [B,n,H,D]
  kernels::View dq;    // [B,n,H,D]
  kernels::View dk;    // [B,n,Hkv,D] f32
  kernels::View dv;    // [B,n,Hkv,D] f32
};

class AttentionWorkload : public Workload {
 public:
  AttentionWorkload(const AttentionCase& shape, const WorkloadContext& context);

  void Fill() override;
  void PrepareBackward() override;
  // 4 D per allowed pair and head, and 10 D.
  int64_t forward_flops() const override { return 4 * pair_features_; }
  int64_t backward_flops() const override { return 10 * pair_features_; }

  const kernels::AttentionProblem& problem() const { return problem_; }
  const AttentionTensors& tensors() const { return tensors_; }

 protected:
  WorkloadContext context_;
  AttentionCase shape_;
  AttentionTensors tensors_;

 private:
  OwnedMask mask_;
  kernels::AttentionProblem problem_;  // refers to mask_
  int64_t pair_features_;
};

// Fused: begin, and one fold of all keys, which is the last.
//
// Naive: per head S = Q K^T, P = softmax(S), O = P V by the kernel table's matrix products, with
// P [B,H,n,n] kept from forward to backward; then dV = P^T dO, dP = dO V^T,
// dS = P * (dP - rowsum(P * dP)), dQ = dS K, dK = dS^T Q. A mask spares it exponentials, nothing
// else. In f32 S takes P's place and dS that of dP, which exists for one head at a time: less
// memory than frameworks take.
std::unique_ptr<AttentionWorkload> NewAttention(AttentionMethod method, const AttentionCase& shape,
                                                const WorkloadContext& context);

}  // namespace annulus::runtime
