// What the operating system says this process holds, beside what the ledger says.
#pragma once

#include <cstdint>

namespace annulus::runtime {

struct OsMemory {
  int64_t resident_bytes = 0;       // now
  int64_t peak_resident_bytes = 0;  // the most so far
};

// From /proc/self/status. Throws SystemError where that cannot be read.
OsMemory ReadOsMemory();

}  // namespace annulus::runtime
