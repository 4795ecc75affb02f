#include "runtime/machine/cgroup.h"

#include <algorithm>
#include <sstream>
#include <string>

#include "runtime/machine/system_file.h"

namespace annulus::runtime {
namespace {

namespace fs = std::filesystem;

// Version 1 writes "no limit" as a number near the largest page-aligned int64_t.
constexpr int64_t kUnlimitedBytes = int64_t{1} << 60;

template <class T>
void Lower(T& limit, T to) {
  if (to > 0) limit = limit > 0 ? std::min(limit, to) : to;
}

double Ratio(std::string_view quota_us, std::string_view period_us) {
  const int64_t period = WholeNumber(period_us).value_or(0);
  if (period == 0) return 0;
  // "max" (version 2) and -1 (version 1) are no numbers of 0 or more.
  return static_cast<double>(WholeNumber(quota_us).value_or(0)) / static_cast<double>(period);
}

void ReadGroup(const fs::path& group, CgroupLimits& limits) {
  const std::string cpu_max = FirstLine(group / "cpu.max");
  const size_t blank = std::min(cpu_max.find(' '), cpu_max.size());
  Lower(limits.cores, Ratio(std::string_view(cpu_max).substr(0, blank),
                            std::string_view(cpu_max).substr(std::min(blank + 1, cpu_max.size()))));
  Lower(limits.cores,
        Ratio(FirstLine(group / "cpu.cfs_quota_us"), FirstLine(group / "cpu.cfs_period_us")));
  for (const char* file : {"memory.max", "memory.limit_in_bytes"}) {
    const int64_t bytes = WholeNumber(FirstLine(group / file)).value_or(0);
    if (bytes < kUnlimitedBytes) Lower(limits.memory_bytes, bytes);
  }
}

}  // namespace

CgroupLimits ReadCgroupLimits(const fs::path& root) {
  CgroupLimits limits;
  std::istringstream groups(WholeFile(root / "proc/self/cgroup"));
  // "ID:CONTROLLERS:/PATH"; no controllers: version 2.
  for (std::string line; std::getline(groups, line);) {
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const fs::path tree = root / "sys/fs/cgroup" / controllers;
    for (fs::path group = fs::path(line.substr(second + 1)).relative_path();;
         group = group.parent_path()) {
      ReadGroup(tree / group, limits);
      if (group.empty()) break;
    }
  }
  return limits;
}

}  // namespace annulus::runtime
