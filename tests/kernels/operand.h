// Operands of matrix products, and their scratch.
#pragma once

#include <cstddef>

#include "tests/kernels/test_tensor.h"

namespace annulus::kernels::testing {

// `bytes` of scratch, aligned as a stack's are.
class Scratch {
 public:
  explicit Scratch(int64_t bytes)
      : bytes_(bytes), lines_(static_cast<size_t>((bytes + kLine - 1) / kLine)) {}

  View view() const { return View(const_cast<Line*>(lines_.data()), DType::kByte, {bytes_}); }

 private:
  static constexpr int64_t kLine = 64;
  struct alignas(kLine) Line {
    std::byte bytes[kLine];
  };

  int64_t bytes_;
  std::vector<Line> lines_;
};

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
