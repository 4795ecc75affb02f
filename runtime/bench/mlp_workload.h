// The SwiGLU block that stands beside attention in a transformer layer, as a workload.
#pragma once

#include "runtime/bench/workload.h"

namespace annulus::runtime {

struct MlpCase {
  int64_t rows = 0;               // N
  int64_t hidden_size = 0;        // C
  int64_t intermediate_size = 0;  // F
  kernels::DType dtype = kernels::DType::kF32;
};

// y = (silu(x Wg) * (x Wu)) Wd, with gate, up and gated [N,F] kept for backward (Shazeer 2020).
// FLOPs of its matrix products: forward 6 N C F, backward 12 N C F. Overwrites the gradients.
std::unique_ptr<Workload> NewMlp(const MlpCase& shape, const WorkloadContext& context);

}  // namespace annulus::runtime
