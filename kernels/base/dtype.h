// Element types of device memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace annulus::kernels {

enum class DType : uint8_t { kF32, kBF16, kI32, kByte };

constexpr int64_t SizeOf(DType dtype) {
  switch (dtype) {
    case DType::kF32:
    case DType::kI32:
      return 4;
    case DType::kBF16:
      return 2;
    case DType::kByte:
      return 1;
  }
  return 0;
}

constexpr std::string_view NameOf(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return "f32";
    case DType::kBF16:
      return "bf16";
    case DType::kI32:
      return "i32";
    case DType::kByte:
      return "byte";
  }
  return "?";
}

// The dtype that stores a C++ element type.
template <class T>
struct DTypeOf;
template <>
struct DTypeOf<float> {
  static constexpr DType value = DType::kF32;
};
template <>
struct DTypeOf<int32_t> {
  static constexpr DType value = DType::kI32;
};
template <>
struct DTypeOf<std::byte> {
  static constexpr DType value = DType::kByte;
};

}  // namespace annulus::kernels
