// What of a range of addresses this process holds in memory.
#pragma once

#include <cstdint>

namespace annulus::parallel {

// The bytes of [address, address + bytes), in whole pages, that the operating system counts as
// resident in this process, as pages are once it has touched them. From /proc/self/pagemap; throws
// SystemError where that cannot be read.
int64_t ResidentBytes(const void* address, int64_t bytes);

}  // namespace annulus::parallel
