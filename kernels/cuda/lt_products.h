// Matrix products by cuBLASLt, with its workspace in the caller's memory.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <memory>
#include <string>

#include "kernels/base/ops.h"

namespace annulus::kernels::cuda {

// Which arithmetic serves products of f32. Those of bf16 are summed in f32 whichever is chosen.
enum class F32Products : uint8_t {
  kF32,   // FMAs
  kTf32,  // tensor cores, factors rounded to 10 bits of mantissa
};

// The products of MatMulArgs, all views and extents that it allows. Keeps what cuBLASLt's heuristic
// chose for each shape, layout and alignment so far. Parts of a sum are added in f32 and in a fixed
// order. Thread-compatible: one owner, one caller at a time.
class LtProducts {
 public:
  // On the current device. Throws SystemError.
  explicit LtProducts(F32Products f32 = F32Products::kF32);
  ~LtProducts();

  // Room for some partial results in f32, and no less or more than cuBLASLt has use for: a pure
  // function of the shape, without a device.
  static int64_t ScratchBytes(const MatMulArgs& args);

  // Returns before the work on `stream` is done. Throws InternalError for a view without a unit
  // stride or scratch that is too small, SystemError when cuBLASLt fails or has no kernel.
  void MatMul(const MatMulArgs& args, View scratch, cudaStream_t stream);

  // As in "cuBLASLt 13.0.2".
  static std::string Version();

 private:
  struct Cache;
  std::unique_ptr<Cache> cache_;
};

}  // namespace annulus::kernels::cuda
