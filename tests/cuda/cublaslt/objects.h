// What the handles of the stand-in for cuBLASLt point at.
#pragma once

#include <cublasLt.h>

#include <cstdint>

struct cublasLtContext {
  int device = 0;
};

struct cublasLtMatmulDescOpaque_t {
  cublasComputeType_t compute_type;
  bool transposes_a = false;
  bool transposes_b = false;
};

struct cublasLtMatrixLayoutOpaque_t {
  cudaDataType_t type;
  int64_t rows;
  int64_t columns;
  int64_t leading;
};

struct cublasLtMatmulPreferenceOpaque_t {
  uint64_t workspace_bytes = 0;
  uint32_t reductions = ~uint32_t{0};
  // Of a, b, c and d, as cuBLASLt takes them unless told.
  uint32_t alignment[4] = {256, 256, 256, 256};
};

namespace annulus::cublaslt {

// What the heuristic promises of one kind of product, packed in an algorithm.
struct Kernel {
  static constexpr uint64_t kMagic = 0x616e6e756c757301;

  uint64_t magic = kMagic;
  uint64_t workspace_bytes = 0;
  uint32_t alignment[4] = {};
  int64_t m = 0, n = 0, k = 0;
};
static_assert(sizeof(Kernel) <= sizeof(cublasLtMatmulAlgo_t));

// A product's operands as the kernel reads them: d [m,n] by columns = alpha op(a) op(b) + beta c.
struct Operand {
  void* data;
  cudaDataType_t type;
  int64_t row_step;
  int64_t column_step;
};
struct Product {
  int64_t m, n, k;
  Operand a, b, c, d;
  float alpha, beta;
  bool tf32;
  void* workspace;
  uint64_t workspace_bytes;
};

// Puts it on the stream. The workspace is overwritten with NaNs.
cudaError_t Multiply(const Product& product, cudaStream_t stream);

}  // namespace annulus::cublaslt
