// Matrix products on CPU cores: f32, and bf16 with f32 sums.
#pragma once

#include <cstdint>
#include <string>

#include "kernels/cpu/bf16_products.h"
#include "kernels/cpu/onednn_products.h"
#include "kernels/cpu/widened_products.h"

namespace annulus::kernels::cpu {

// Thread-compatible: one owner, one caller at a time. Throws InternalError for an operand that is
// not a matrix with a unit stride or scratch that is too small, SystemError when oneDNN fails.
class Gemm {
 public:
  explicit Gemm(int threads, Bf16Products bf16 = ChooseBf16Products().products)
      : onednn_(threads), widened_(onednn_, threads), bf16_(bf16) {}

  // Reads shapes, strides and dtypes only.
  int64_t ScratchBytes(const MatMulArgs& args);

  // Bits do not depend on the thread count, and with a row-major `a` those of a row of c do not
  // depend on the other rows, where OneDnnProducts::KeepsBits().
  void MatMul(const MatMulArgs& args, View scratch);

  // As in "oneDNN 2.6.3, brg:avx512_core".
  static std::string Describe(DType dtype);

 private:
  bool Widens(const MatMulArgs& args) const;

  OneDnnProducts onednn_;
  WidenedProducts widened_;
  Bf16Products bf16_;
};

}  // namespace annulus::kernels::cpu
