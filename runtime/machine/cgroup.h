// What Linux control groups, version 1 or 2, allow this process.
#pragma once

#include <cstdint>
#include <filesystem>

namespace annulus::runtime {

struct CgroupLimits {
  double cores = 0;          // 0: no limit
  int64_t memory_bytes = 0;  // 0: no limit
};

// The strictest limit of the process's groups and of all groups above them. A container may show
// its own group as the root of the tree, so groups that are not there are passed over.
CgroupLimits ReadCgroupLimits(const std::filesystem::path& root);

}  // namespace annulus::runtime
