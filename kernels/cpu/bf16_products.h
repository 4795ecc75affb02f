// How products of bf16 matrices are computed on this CPU.
#pragma once

#include <cstdint>
#include <string>

namespace annulus::kernels::cpu {

enum class Bf16Products : uint8_t {
  kNative,   // by oneDNN in bf16
  kWidened,  // as f32 products of widened blocks (widened_products.h)
};

// A pure function of the CPU and of the instruction sets that oneDNN may use (all of them, or what
// ONEDNN_MAX_CPU_ISA says): no stopwatch decides what bits a run gets.
struct Bf16Choice {
  Bf16Products products;
  std::string reason;
};
Bf16Choice ChooseBf16Products();

// Whether oneDNN's bf16 products run here on bf16 instructions at all, fast or not.
bool NativeBf16Works();

}  // namespace annulus::kernels::cpu
