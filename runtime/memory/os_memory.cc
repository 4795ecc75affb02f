#include "runtime/memory/os_memory.h"

#include <fstream>
#include <string>

#include "kernels/base/error.h"

namespace annulus::runtime {

OsMemory ReadOsMemory() {
  std::ifstream status("/proc/self/status");
  OsMemory memory;
  std::string key;
  while (status >> key) {
    int64_t kib = 0;
    if (key == "VmHWM:" && status >> kib) {
      memory.peak_resident_bytes = kib * 1024;
    } else if (key == "VmRSS:" && status >> kib) {
      memory.resident_bytes = kib * 1024;
    }
  }
  if (memory.resident_bytes == 0) {
    ThrowSystemError("reading VmRSS and VmHWM from /proc/self/status failed");
  }
  return memory;
}

}  // namespace annulus::runtime
