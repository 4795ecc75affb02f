// Matrix products on CPU cores through oneDNN, with its scratchpad in the caller's memory.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "kernels/base/ops.h"

namespace annulus::kernels::cpu {

// Keeps the primitives made so far. Thread-compatible: one owner, one caller at a time.
class Gemm {
 public:
  explicit Gemm(int threads);
  ~Gemm();

  // Creates the primitive if it is new, so that the first MatMul after planning pays nothing.
  int64_t ScratchBytes(const MatMulArgs& args);
  void MatMul(const MatMulArgs& args, View scratch);

  // As in "oneDNN 2.6.3, avx512_core_bf16".
  static std::string Describe();

 private:
  struct Cache;
  int threads_;
  std::unique_ptr<Cache> cache_;
};

}  // namespace annulus::kernels::cpu
