// Elements as kernels meet them: f32 or bf16 in memory, f32 in registers, several to an access.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>

#include "kernels/base/bfloat16.h"
#include "kernels/base/view.h"
#include "kernels/cuda/launch.h"

namespace annulus::kernels::cuda {

// An access moves up to so many bytes.
inline constexpr int64_t kAccessBytes = 16;

template <class T, int kWidth>
struct alignas(kWidth * sizeof(T)) Packet {
  T at[kWidth];
};

__device__ inline float Widen(float x) { return x; }
__device__ inline float Widen(BFloat16 x) { return ToFloat(x); }
__device__ inline void Narrow(float x, float& to) { to = x; }
__device__ inline void Narrow(float x, BFloat16& to) { to = ToBFloat16(x); }

// kWidth elements from p on, as f32. Requires p aligned to all of them.
template <int kWidth, class T>
__device__ inline void Load(const T* p, float (&x)[kWidth]) {
  const auto packet = *reinterpret_cast<const Packet<T, kWidth>*>(p);
#pragma unroll
  for (int i = 0; i < kWidth; ++i) x[i] = Widen(packet.at[i]);
}

// The reverse, rounded to nearest even.
template <int kWidth, class T>
__device__ inline void Store(const float (&x)[kWidth], T* p) {
  Packet<T, kWidth> packet;
#pragma unroll
  for (int i = 0; i < kWidth; ++i) Narrow(x[i], packet.at[i]);
  *reinterpret_cast<Packet<T, kWidth>*>(p) = packet;
}

// The greatest power of two up to kAccessBytes that divides `bytes`; kAccessBytes of 0.
constexpr int64_t AlignmentOf(int64_t bytes) {
  const uint64_t bits = static_cast<uint64_t>(bytes) | static_cast<uint64_t>(kAccessBytes);
  return static_cast<int64_t>(bits & (~bits + 1));
}
inline int64_t AlignmentOf(const void* p) {
  return AlignmentOf(static_cast<int64_t>(reinterpret_cast<uintptr_t>(p)));
}

// Whether elements of these tensors can be accessed kAccessBytes at a time from any multiple of
// that on.
template <class... Views>
bool Aligned(const Views&... views) {
  return ((AlignmentOf(views.data) == kAccessBytes) && ...);
}

// Calls visit(element) with an element of the type that `dtype`, f32 or bf16, stores.
template <class Visit>
void WithElement(DType dtype, const Visit& visit) {
  dtype == DType::kBF16 ? visit(BFloat16{}) : visit(0.0f);
}

// Elements of T that an access of kAccessBytes moves.
template <class T>
inline constexpr int kFullWidth = static_cast<int>(kAccessBytes / sizeof(T));

constexpr int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

// A grid of `blocks` in x.
inline dim3 Blocks(int64_t blocks) {
  Check(blocks < (int64_t{1} << 31), "a grid of {} blocks", blocks);
  return {static_cast<unsigned>(blocks), 1, 1};
}

// Threads for a row of `count` accesses: warps, at most `most` threads.
inline dim3 ThreadsFor(int64_t count, int64_t most) {
  const int64_t warps = CeilDiv(std::max<int64_t>(count, 1), 32);
  return {static_cast<unsigned>(std::min(32 * warps, most)), 1, 1};
}

}  // namespace annulus::kernels::cuda
