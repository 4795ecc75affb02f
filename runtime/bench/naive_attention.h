// The naive implementation; see NewAttention.
#pragma once

#include "runtime/bench/attention_workload.h"

namespace annulus::runtime {

std::unique_ptr<AttentionWorkload> NewNaiveAttention(const AttentionCase& shape,
                                                     const WorkloadContext& context);

}  // namespace annulus::runtime
