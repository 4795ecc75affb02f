// Operands of matrix products, and a product with scratch of just the size asked for.
#pragma once

#include <cstddef>

#include "kernels/cpu/gemm.h"
#include "tests/kernels/test_tensor.h"

namespace annulus::kernels::testing {

inline void Multiply(cpu::Gemm& gemm, const MatMulArgs& args) {
  struct alignas(64) Line {
    std::byte bytes[64];
  };
  const int64_t bytes = gemm.ScratchBytes(args);
  std::vector<Line> scratch(static_cast<size_t>((bytes + 63) / 64));
  gemm.MatMul(args, View(scratch.data(), DType::kByte, {bytes}));
}

// An operand in row-major or, `transposed`, in column-major memory.
template <class T>
struct OperandOf {
  OperandOf(int64_t rows, int64_t columns, bool transposed_memory, unsigned seed)
      : transposed(transposed_memory),
        tensor(transposed ? TensorOf<T>::Random({columns, rows}, seed)
                          : TensorOf<T>::Random({rows, columns}, seed)) {}

  View view() { return transposed ? tensor.view().Transposed() : tensor.view(); }

  // Its elements in row-major order.
  template <class Real>
  std::vector<Real> Elements() {
    const View m = view();
    std::vector<Real> elements;
    for (int64_t i = 0; i < m.dim(0); ++i) {
      for (int64_t j = 0; j < m.dim(1); ++j) {
        const int64_t at = i * m.stride[0] + j * m.stride[1];
        elements.push_back(static_cast<Real>(ToFloat(tensor.values()[static_cast<size_t>(at)])));
      }
    }
    return elements;
  }

  bool transposed;
  TensorOf<T> tensor;
};
using Operand = OperandOf<float>;

}  // namespace annulus::kernels::testing
