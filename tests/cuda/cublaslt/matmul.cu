// Products in plain loops, by a single thread: a kernel, so that they are work of their stream and
// their memory is checked.
#include <bit>
#include <cstdint>

#include "kernels/base/bfloat16.h"
#include "tests/cuda/cublaslt/objects.h"

namespace annulus::cublaslt {
namespace {

using kernels::BFloat16;

// To 10 bits of mantissa, to nearest with ties away from 0, as cvt.rna.tf32 does.
float ToTf32(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  return x == x ? std::bit_cast<float>((bits + 0x1000u) & ~0x1fffu) : x;
}

template <class T>
__device__ float Read(const Operand& from, int64_t row, int64_t column) {
  const T value = static_cast<const T*>(from.data)[row * from.row_step + column * from.column_step];
  if constexpr (sizeof(T) == 2) {
    return ToFloat(value);
  } else {
    return value;
  }
}

template <class T>
__device__ void Write(double x, const Operand& to, int64_t row, int64_t column) {
  T& value = static_cast<T*>(to.data)[row * to.row_step + column * to.column_step];
  if constexpr (sizeof(T) == 2) {
    value = kernels::ToBFloat16(static_cast<float>(x));
  } else {
    value = static_cast<float>(x);
  }
}

template <class Factor, class Result>
__global__ void MultiplyKernel(const Product p) {
  const auto factor = [&](const Operand& from, int64_t row, int64_t column) {
    const float x = Read<Factor>(from, row, column);
    return static_cast<double>(p.tf32 ? ToTf32(x) : x);
  };
  for (int64_t i = 0; i < p.m; ++i) {
    for (int64_t j = 0; j < p.n; ++j) {
      double sum = 0;
      for (int64_t k = 0; k < p.k; ++k) sum += factor(p.a, i, k) * factor(p.b, k, j);
      sum *= static_cast<double>(p.alpha);
      if (p.beta != 0) {
        sum += static_cast<double>(p.beta) * static_cast<double>(Read<Result>(p.c, i, j));
      }
      Write<Result>(sum, p.d, i, j);
    }
  }
  auto* const workspace = static_cast<uint64_t*>(p.workspace);
  for (uint64_t i = 0; i < p.workspace_bytes / sizeof(uint64_t); i += 512)
    workspace[i] = ~uint64_t{0};
}

template <class Factor, class Result>
cudaError_t MultiplyAs(const Product& product, cudaStream_t stream) {
  cudaLaunchConfig_t config{};
  config.gridDim = {1, 1, 1};
  config.blockDim = {1, 1, 1};
  config.stream = stream;
  return cudaLaunchKernelEx(&config, MultiplyKernel<Factor, Result>, product);
}

}  // namespace

cudaError_t Multiply(const Product& product, cudaStream_t stream) {
  const bool narrow = product.a.type == CUDA_R_16BF;
  if (!narrow) return MultiplyAs<float, float>(product, stream);
  return product.d.type == CUDA_R_16BF ? MultiplyAs<BFloat16, BFloat16>(product, stream)
                                       : MultiplyAs<BFloat16, float>(product, stream);
}

}  // namespace annulus::cublaslt
