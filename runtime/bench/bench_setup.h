// What a benchmark makes of the options in section [bench].
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "runtime/bench/attention_workload.h"
#include "runtime/bench/bench_threads.h"
#include "runtime/config/run_config.h"

namespace annulus::runtime {

// Is told what is measured next, for a person who waits.
using Progress = std::function<void(const std::string& what)>;

// Replaces each 0 that stands for another value, but window: kv_heads, threads (the cores that this
// process may use), intermediate_size, roof_size, memory_bytes. On a device other than cores
// threads are kOnDevice, and memory_bytes stays 0, for the device to say. Throws ConfigError for
// options that contradict each other or the device.
BenchOptions ResolveBench(BenchOptions bench, DeviceKind device = DeviceKind::kCpu);

// The attention of one entry of each list. Of a resolved configuration.
AttentionCase CaseOf(const BenchOptions& bench, int64_t n, int64_t head_dim, kernels::DType dtype,
                     BenchMask mask);

// As in "n = 4,096, D = 64, f32, causal, 2 threads".
std::string Describe(const AttentionCase& shape, int threads);

// What is wrong with the threads of a resolved configuration on the cores of this process.
std::vector<std::string> ThreadAdvice(const BenchOptions& bench);

// Why an implementation of this footprint is left out, as in "needs 8.60 GiB, ..."; "": it fits
// bench.memory_bytes of a resolved configuration or, where that is 0, half of what is free now of
// the memory of `table`.
std::string MemoryProblem(const BenchOptions& bench, const Footprint& footprint,
                          const kernels::KernelTable& table);

}  // namespace annulus::runtime
