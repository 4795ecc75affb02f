#include "kernels/cpu/bf16_products.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include "kernels/cpu/attention/amx.h"
#include "kernels/cpu/onednn_products.h"

namespace annulus::kernels::cpu {
namespace {

#if defined(__x86_64__)
// oneDNN configures tiles by the palettes that this leaf lists. Some hypervisors pass AMX on and
// hide the leaf: oneDNN 2.6.3 then ends in an illegal instruction.
bool ListsTilePalettes() {
  unsigned palettes = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(0x1d, 0, &palettes, &b, &c, &d) != 0 && palettes >= 1;
}
#else
bool ListsTilePalettes() { return false; }
#endif

bool Contains(const std::string& text, const char* part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

// Measured on one core of a Xeon with AMX, in GFLOP/s: vdpbf16ps 89, f32 FMA 178. Cores with AMX
// run the former at half the rate of the latter, so without tiles they are better off in f32;
// others with AVX512-BF16 run it at the same or twice the rate.
Bf16Choice ChooseBf16Products() {
  const std::string implementation = OneDnnProducts::Implementation(DType::kBF16);
  if (Contains(implementation, "amx")) {
    if (ListsTilePalettes())
      return {Bf16Products::kNative, "this CPU multiplies bf16 in AMX tiles"};
    return {Bf16Products::kWidened, "this machine hides how its AMX tiles are to be configured"};
  }
  if (Contains(implementation, "bf16")) {
    if (!HasAmxBf16()) return {Bf16Products::kNative, "this CPU has bf16 dot products"};
    return {Bf16Products::kWidened, "without tiles, CPUs with AMX are faster in f32"};
  }
  return {Bf16Products::kWidened, "no bf16 instructions that oneDNN uses"};
}

bool NativeBf16Works() {
  const std::string implementation = OneDnnProducts::Implementation(DType::kBF16);
  return Contains(implementation, "amx") ? ListsTilePalettes() : Contains(implementation, "bf16");
}

}  // namespace annulus::kernels::cpu
