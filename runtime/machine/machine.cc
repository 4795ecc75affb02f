#include "runtime/machine/machine.h"

#include <sched.h>

#include <algorithm>
#include <optional>
#include <set>

#include "runtime/machine/cgroup.h"
#include "runtime/machine/system_file.h"

namespace annulus::runtime {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kMostCores = 1 << 20;

struct CpuRange {
  int first = 0;
  int last = -1;
};

// Takes one "3" or "0-3" off the front of `list`.
std::optional<CpuRange> TakeRange(std::string_view& list) {
  const std::string_view item = list.substr(0, list.find(','));
  list.remove_prefix(std::min(list.size(), item.size() + 1));
  const size_t dash = item.find('-');
  const std::optional<int64_t> first = WholeNumber(item.substr(0, dash));
  const std::optional<int64_t> last =
      dash == std::string_view::npos ? first : WholeNumber(item.substr(dash + 1));
  if (!first || !last || *last < *first || *last > kMostCores) return std::nullopt;
  return CpuRange{static_cast<int>(*first), static_cast<int>(*last)};
}

// 0 where there is no such line.
int64_t MemInfoBytes(const std::string& meminfo, std::string_view name) {
  const std::string field = FieldOf(meminfo, name);
  return WholeNumber(std::string_view(field).substr(0, field.find(' '))).value_or(0) * 1024;
}

// "2048K", "32M".
int64_t CacheBytes(std::string_view size) {
  const size_t suffix = size.find_first_of("KM");
  const int64_t unit = suffix == std::string_view::npos ? 1 : size[suffix] == 'K' ? 1024 : 1 << 20;
  return WholeNumber(size.substr(0, suffix)).value_or(0) * unit;
}

std::vector<CacheFacts> ReadCaches(const fs::path& cpu) {
  std::vector<CacheFacts> caches;
  for (int index = 0;; ++index) {
    const fs::path cache = cpu / "cache" / ("index" + std::to_string(index));
    const std::string level = FirstLine(cache / "level");
    if (level.empty()) return caches;
    const std::string type = FirstLine(cache / "type");
    if (type == "Instruction") continue;
    caches.push_back({"l" + level + (type == "Data" ? "d" : ""),
                      CacheBytes(FirstLine(cache / "size")),
                      static_cast<int>(ParseCpuList(FirstLine(cache / "shared_cpu_list")).size())});
  }
}

// Cores that share hardware threads name the same siblings.
int CountPhysical(const fs::path& cpus, const std::vector<int>& online) {
  std::set<std::string> siblings;
  for (int cpu : online) {
    siblings.insert(
        FirstLine(cpus / ("cpu" + std::to_string(cpu)) / "topology" / "thread_siblings_list"));
  }
  siblings.erase("");
  return static_cast<int>(siblings.size());
}

}  // namespace

std::vector<int> ParseCpuList(std::string_view list) {
  std::vector<int> cpus;
  while (!list.empty()) {
    const std::optional<CpuRange> range = TakeRange(list);
    if (!range) return {};
    for (int cpu = range->first; cpu <= range->last; ++cpu) cpus.push_back(cpu);
  }
  return cpus;
}

std::string CpuListText(const std::vector<int>& cpus) {
  std::string text;
  for (size_t first = 0; first < cpus.size();) {
    size_t last = first;
    while (last + 1 < cpus.size() && cpus[last + 1] == cpus[last] + 1) ++last;
    if (!text.empty()) text += ',';
    text += std::to_string(cpus[first]);
    if (last > first) text += '-' + std::to_string(cpus[last]);
    first = last + 1;
  }
  return text;
}

MachineFacts ReadMachine(const fs::path& root) {
  const fs::path cpus = root / "sys/devices/system/cpu";
  const std::vector<int> online = ParseCpuList(FirstLine(cpus / "online"));
  const std::string meminfo = WholeFile(root / "proc/meminfo");
  const int first_cpu = online.empty() ? 0 : online.front();
  const CgroupLimits limits = ReadCgroupLimits(root);
  return {.cpu_model = FieldOf(WholeFile(root / "proc/cpuinfo"), "model name"),
          .cores_online = static_cast<int>(online.size()),
          .cores_physical = CountPhysical(cpus, online),
          .memory_bytes = MemInfoBytes(meminfo, "MemTotal"),
          .memory_available_bytes = MemInfoBytes(meminfo, "MemAvailable"),
          .caches = ReadCaches(cpus / ("cpu" + std::to_string(first_cpu))),
          .cgroup_cores = limits.cores,
          .cgroup_memory_bytes = limits.memory_bytes};
}

std::vector<int> AffinityCores() {
  std::vector<int> cores;
  // The kernel refuses a set smaller than its own, whose size only it knows.
  for (size_t cpus = CPU_SETSIZE; cpus <= (size_t{1} << 20); cpus *= 2) {
    std::vector<cpu_set_t> set(cpus / CPU_SETSIZE);
    const size_t bytes = set.size() * sizeof(cpu_set_t);
    if (sched_getaffinity(0, bytes, set.data()) != 0) continue;
    for (size_t cpu = 0; cpu < cpus; ++cpu) {
      if (CPU_ISSET_S(cpu, bytes, set.data())) cores.push_back(static_cast<int>(cpu));
    }
    break;
  }
  return cores;
}

std::vector<std::string> InstructionSets() {
  std::vector<std::string> sets;
#if defined(__x86_64__)
  __builtin_cpu_init();
  const auto add = [&sets](int has, const char* name) {
    if (has != 0) sets.emplace_back(name);
  };
  add(__builtin_cpu_supports("sse4.2"), "sse4.2");
  add(__builtin_cpu_supports("avx"), "avx");
  add(__builtin_cpu_supports("avx2"), "avx2");
  add(__builtin_cpu_supports("fma"), "fma");
  add(__builtin_cpu_supports("avx512f"), "avx512f");
  add(__builtin_cpu_supports("avx512bw"), "avx512bw");
  add(__builtin_cpu_supports("avx512dq"), "avx512dq");
  add(__builtin_cpu_supports("avx512vl"), "avx512vl");
  add(__builtin_cpu_supports("avx512vnni"), "avx512vnni");
  add(__builtin_cpu_supports("avx512bf16"), "avx512bf16");
#endif
  return sets;
}

}  // namespace annulus::runtime
