#include "runtime/bench/bench_setup.h"

#include <algorithm>

#include "kernels/base/error.h"
#include "runtime/io/format.h"
#include "runtime/machine/machine.h"
#include "runtime/machine/placement.h"
#include "runtime/machine/placement_advice.h"

namespace annulus::runtime {
namespace {

int64_t HalfOfFreeMemory() {
  const MachineFacts machine = ReadMachine("/");
  int64_t bytes = machine.memory_available_bytes;
  if (machine.cgroup_memory_bytes > 0) bytes = std::min(bytes, machine.cgroup_memory_bytes);
  return bytes / 2;
}

}  // namespace

BenchOptions ResolveBench(BenchOptions bench) {
  if (bench.kv_heads == 0) bench.kv_heads = bench.heads;
  if (bench.heads % bench.kv_heads != 0) {
    ThrowConfigError(
        "bench.kv_heads = {} does not divide bench.heads = {}: every key/value head serves as many "
        "query heads",
        bench.kv_heads, bench.heads);
  }
  for (int& threads : bench.threads) {
    if (threads == 0) threads = UsableCores(ReadPlacement(0));
  }
  if (bench.intermediate_size == 0) {
    const int64_t hidden = bench.heads * bench.head_dim.front();
    bench.intermediate_size = (hidden * 8 / 3 + 63) / 64 * 64;
  }
  if (bench.memory_bytes == 0) bench.memory_bytes = HalfOfFreeMemory();
  return bench;
}

AttentionCase CaseOf(const BenchOptions& bench, int64_t n, int64_t head_dim, kernels::DType dtype,
                     BenchMask mask) {
  return {.n = n,
          .batch = bench.batch,
          .heads = bench.heads,
          .kv_heads = bench.kv_heads,
          .head_dim = head_dim,
          .dtype = dtype,
          .mask = mask,
          .window = bench.window > 0 ? bench.window : std::max<int64_t>(1, n / 8)};
}

std::string Describe(const AttentionCase& shape, int threads) {
  return fmt::format("n = {}, D = {}, {}, {}, {} thread{}", FormatCount(shape.n), shape.head_dim,
                     kernels::NameOf(shape.dtype), NameOf(shape.mask), threads,
                     threads == 1 ? "" : "s");
}

std::vector<std::string> ThreadAdvice(const BenchOptions& bench) {
  const Placement own = ReadPlacement(0);
  std::vector<std::string> advice = PlacementAdvice({&own, 1});
  const int most = *std::max_element(bench.threads.begin(), bench.threads.end());
  if (most > UsableCores(own)) {
    advice.push_back(fmt::format("bench.threads = {} take turns on {} core{}: set it to {} at most",
                                 most, UsableCores(own), UsableCores(own) == 1 ? "" : "s",
                                 UsableCores(own)));
  }
  return advice;
}

std::string MemoryProblem(const BenchOptions& bench, const Footprint& footprint) {
  if (footprint.backward_bytes <= bench.memory_bytes) return "";
  return fmt::format("needs {}, more than bench.memory_bytes = {}",
                     FormatBytes(footprint.backward_bytes), FormatBytes(bench.memory_bytes));
}

}  // namespace annulus::runtime
