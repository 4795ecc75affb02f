// A small attention for tests of what surrounds the kernels.
#pragma once

#include "kernels/base/ops.h"

namespace annulus::kernels::testing {

// Positions 0..5 of a causal sequence, padded from `length` on.
inline AttentionProblem CausalProblem(int64_t length) {
  AttentionProblem problem;
  problem.heads = 4;
  problem.kv_heads = 2;
  problem.head_dim = 16;
  problem.scale = 0.25f;
  problem.queries = Positions({0, 1, 6});
  problem.mask.kind = MaskKind::kCausal;
  problem.mask.length = length;
  return problem;
}

}  // namespace annulus::kernels::testing
