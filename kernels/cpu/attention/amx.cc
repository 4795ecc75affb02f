#include "kernels/cpu/attention/amx.h"

#include <cstdint>

#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace annulus::kernels::cpu {

#if defined(__x86_64__) && defined(__linux__)
bool HasAmxBf16() {
  constexpr unsigned kAmxBf16 = 1u << 22;
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (d & kAmxBf16) != 0;
}

bool MayUseAmx() {
  constexpr int64_t kRequestPermission = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}
#else
bool HasAmxBf16() { return false; }
bool MayUseAmx() { return false; }
#endif

}  // namespace annulus::kernels::cpu
