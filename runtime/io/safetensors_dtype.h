// The element types of the safetensors format.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace annulus::runtime {

struct SafetensorsType {
  std::string_view name;
  int64_t bytes;  // per element
};

// Types of less than a byte (F4, F6) are left out: no file of a model's weights here has them.
inline constexpr std::array<SafetensorsType, 17> kSafetensorsTypes = {{
    {"C64", 8},
    {"F64", 8},
    {"I64", 8},
    {"U64", 8},
    {"F32", 4},
    {"I32", 4},
    {"U32", 4},
    {"BF16", 2},
    {"F16", 2},
    {"I16", 2},
    {"U16", 2},
    {"BOOL", 1},
    {"F8_E4M3", 1},
    {"F8_E5M2", 1},
    {"F8_E8M0", 1},
    {"I8", 1},
    {"U8", 1},
}};

// Bytes per element of the type of that name, 0 if it is unknown.
constexpr int64_t SafetensorsElementBytes(std::string_view name) {
  for (const SafetensorsType& type : kSafetensorsTypes) {
    if (type.name == name) return type.bytes;
  }
  return 0;
}

inline constexpr uint64_t kSafetensorsMaxHeaderBytes = 100'000'000;

// Bytes of a tensor of so many bytes per element, or -1 where they do not fit 63 bits.
template <class Shape>
constexpr int64_t SafetensorsTensorBytes(int64_t element_bytes, const Shape& shape) {
  int64_t bytes = element_bytes;
  for (int64_t extent : shape) {
    if (extent < 0 || __builtin_mul_overflow(bytes, extent, &bytes)) return -1;
  }
  return bytes;
}

}  // namespace annulus::runtime
