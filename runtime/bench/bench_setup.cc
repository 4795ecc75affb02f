#include "runtime/bench/bench_setup.h"

#include <algorithm>

#include "kernels/base/error.h"
#include "runtime/io/format.h"
#include "runtime/machine/machine.h"
#include "runtime/machine/placement.h"
#include "runtime/machine/placement_advice.h"

namespace annulus::runtime {
namespace {

// Large enough for the full rate of cores, and of devices.
constexpr int64_t kCoresRoof = 2048;
constexpr int64_t kDeviceRoof = 8192;

int64_t HalfOfFreeMemory() {
  const MachineFacts machine = ReadMachine("/");
  int64_t bytes = machine.memory_available_bytes;
  if (machine.cgroup_memory_bytes > 0) bytes = std::min(bytes, machine.cgroup_memory_bytes);
  return bytes / 2;
}

int64_t HalfOfFreeMemory(const kernels::KernelTable& table) {
  const kernels::DeviceMemoryUse use = table.ReadMemoryUse();
  return use.total_bytes == 0 ? HalfOfFreeMemory() : (use.total_bytes - use.used_bytes) / 2;
}

void ForgetThreads(BenchOptions& bench) {
  for (const int threads : bench.threads) {
    if (threads == 0) continue;
    ThrowConfigError(
        "bench.threads = {} counts threads of cores, and device.kind = cuda computes on GPUs: "
        "leave it out",
        threads);
  }
  bench.threads = {kOnDevice};
}

}  // namespace

BenchOptions ResolveBench(BenchOptions bench, DeviceKind device) {
  const bool on_cores = device == DeviceKind::kCpu;
  if (bench.kv_heads == 0) bench.kv_heads = bench.heads;
  if (bench.heads % bench.kv_heads != 0) {
    ThrowConfigError(
        "bench.kv_heads = {} does not divide bench.heads = {}: every key/value head serves as many "
        "query heads",
        bench.kv_heads, bench.heads);
  }
  if (!on_cores) ForgetThreads(bench);
  for (int& threads : bench.threads) {
    if (on_cores && threads == 0) threads = UsableCores(ReadPlacement(0));
  }
  if (bench.roof_size == 0) bench.roof_size = on_cores ? kCoresRoof : kDeviceRoof;
  if (bench.intermediate_size == 0) {
    const int64_t hidden = bench.heads * bench.head_dim.front();
    bench.intermediate_size = (hidden * 8 / 3 + 63) / 64 * 64;
  }
  if (on_cores && bench.memory_bytes == 0) bench.memory_bytes = HalfOfFreeMemory();
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
  return fmt::format("n = {}, D = {}, {}, {}, {}", FormatCount(shape.n), shape.head_dim,
                     kernels::NameOf(shape.dtype), NameOf(shape.mask), ThreadsText(threads));
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

std::string MemoryProblem(const BenchOptions& bench, const Footprint& footprint,
                          const kernels::KernelTable& table) {
  const int64_t most = bench.memory_bytes > 0 ? bench.memory_bytes : HalfOfFreeMemory(table);
  if (footprint.backward_bytes <= most) return "";
  return fmt::format("needs {}, more than bench.memory_bytes = {}",
                     FormatBytes(footprint.backward_bytes), FormatBytes(most));
}

}  // namespace annulus::runtime
