// Benchmarks of several ranks, as threads of a test.
#pragma once

#include <string>

#include "parallel/local_communicator.h"
#include "runtime/config/run_config.h"

namespace annulus::runtime {

// What `run(world)` returns on rank 0.
template <class Run>
auto OnRanks(int ranks, const Run& run) {
  decltype(run(std::declval<parallel::Communicator&>())) report;
  parallel::RunRanks(ranks, [&](parallel::Communicator& world) {
    auto own = run(world);
    if (world.rank() == 0) report = std::move(own);
  });
  return report;
}

// Kernels at a billion FLOPs and ten billion bytes a second, links at a tenth of that.
inline constexpr const char* kSlowMachine = R"([machine]
name = slow
source = made up
ranks = 2
[matmul f32]
gflops = 1
[attention_forward f32 64]
gflops = 1
[attention_backward f32 64]
gflops = 1
[elementwise f32]
gbytes_per_s = 10
[within_node]
gbytes_per_s = 1
latency_us = 1
)";

}  // namespace annulus::runtime
