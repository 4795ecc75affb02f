// Products of bf16 matrices as f32 products of blocks that are widened in the caller's scratch.
#pragma once

#include "kernels/cpu/onednn_products.h"

namespace annulus::kernels::cpu {

// Takes the operands that OneDnnProducts takes, a and b in bf16. Blocks are cut by shapes alone, so
// what holds for the bits of an f32 product holds for these.
class WidenedProducts {
 public:
  // `f32` must outlive this.
  WidenedProducts(OneDnnProducts& f32, int threads) : f32_(f32), threads_(threads) {}

  // At most some 3 MiB, whatever the shapes, and what the f32 products of its blocks need.
  int64_t ScratchBytes(const MatMulArgs& args);
  void MatMul(const MatMulArgs& args, View scratch);

 private:
  OneDnnProducts& f32_;
  int threads_;
};

}  // namespace annulus::kernels::cpu
