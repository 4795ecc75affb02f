// Layouts as CUTLASS's CuTe publishes them: shapes and strides from the index of a thread and of
// its value to an element. What instructions do is expected from these, not from the emulator's own
// code.
#pragma once

#include <cstdint>
#include <random>
#include <vector>

#include "kernels/base/bfloat16.h"

namespace annulus {

struct Layout {
  std::vector<int> shape, stride;

  // The offset of a coordinate that counts through the shape, first dim fastest.
  int operator()(int i) const {
    int offset = 0;
    for (size_t d = 0; d < shape.size(); ++d) {
      offset += i % shape[d] * stride[d];
      i /= shape[d];
    }
    return offset;
  }
};

// Element of a thread's value.
struct ThreadValueLayout {
  Layout thread, value;

  int operator()(int t, int v) const { return thread(t) + value(v); }
};

// Swizzle<bits,4,3> of a byte offset.
inline int Swizzle(int bits, int byte) { return byte ^ ((byte >> 3) & (((1 << bits) - 1) << 4)); }

// Whole numbers that bf16 and tf32 hold, and whose sums of products are exact in f32.
inline std::vector<int> SmallNumbers(size_t count) {
  static std::mt19937 random(std::random_device{}());
  std::vector<int> numbers(count);
  for (int& x : numbers) x = static_cast<int>(random() % 15) - 7;
  return numbers;
}

inline uint16_t Bf16Bits(int x) { return kernels::ToBFloat16(static_cast<float>(x)).bits; }
inline uint32_t PackedBf16(int low, int high) {
  return Bf16Bits(low) | static_cast<uint32_t>(Bf16Bits(high)) << 16;
}

}  // namespace annulus
