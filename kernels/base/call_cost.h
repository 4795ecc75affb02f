// What one kernel call costs, as the front counts it and a time model prices it.
#pragma once

#include <cstdint>
#include <string_view>

#include "kernels/base/dtype.h"

namespace annulus::kernels {

// Classes of work that have a rate of their own.
enum class RateClass : uint8_t { kMatMul, kAttentionForward, kAttentionBackward, kElementwise };
inline constexpr int kRateClasses = 4;

constexpr std::string_view NameOf(RateClass work) {
  switch (work) {
    case RateClass::kMatMul:
      return "matmul";
    case RateClass::kAttentionForward:
      return "attention_forward";
    case RateClass::kAttentionBackward:
      return "attention_backward";
    case RateClass::kElementwise:
      return "elementwise";
  }
  return "?";
}

constexpr bool IsAttention(RateClass work) {
  return work == RateClass::kAttentionForward || work == RateClass::kAttentionBackward;
}

// `bytes` are the tensor bytes that the call reads and writes once.
struct CallCost {
  RateClass work = RateClass::kElementwise;
  DType dtype = DType::kF32;  // of the activations it reads
  int64_t head_dim = 0;       // of an attention, else 0
  int64_t flops = 0;
  int64_t bytes = 0;
};

}  // namespace annulus::kernels
