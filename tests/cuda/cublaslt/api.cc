#include <algorithm>
#include <bit>
#include <cstring>

#include "tests/cuda/cublaslt/objects.h"

namespace {

using annulus::cublaslt::Kernel;
using annulus::cublaslt::Operand;
using annulus::cublaslt::Product;

constexpr uint64_t kWorkspaceAlignment = 256;
// What a product has use for: no more is written, whatever it is given.
constexpr uint64_t kWorkspaceBytes = uint64_t{1} << 16;

bool IsAligned(const void* data, uint64_t alignment) {
  return reinterpret_cast<uintptr_t>(data) % alignment == 0;
}

template <class T>
cublasStatus_t Destroy(T* object) {
  if (object == nullptr) return CUBLAS_STATUS_INVALID_VALUE;
  delete object;
  return CUBLAS_STATUS_SUCCESS;
}

template <class T>
bool Read(const void* value, size_t bytes, T& into) {
  if (value == nullptr || bytes != sizeof into) return false;
  std::memcpy(&into, value, bytes);
  return true;
}

struct Extents {
  int64_t m, n, k;
};

struct Layouts {
  cublasLtMatrixLayout_t a, b, c, d;
};

// Whether the matrices fit each other; their extents.
bool Fit(const cublasLtMatmulDescOpaque_t& operation, const Layouts& all, Extents& extents) {
  const auto rows = [](const cublasLtMatrixLayoutOpaque_t& x, bool transposed) {
    return transposed ? x.columns : x.rows;
  };
  const auto columns = [&](const cublasLtMatrixLayoutOpaque_t& x, bool transposed) {
    return rows(x, !transposed);
  };
  extents = {rows(*all.a, operation.transposes_a), columns(*all.b, operation.transposes_b),
             columns(*all.a, operation.transposes_a)};
  const auto is_result = [&](const cublasLtMatrixLayoutOpaque_t& x) {
    return x.rows == extents.m && x.columns == extents.n;
  };
  return rows(*all.b, operation.transposes_b) == extents.k && is_result(*all.c) &&
         is_result(*all.d) && extents.m > 0 && extents.n > 0 && extents.k > 0;
}

// The types that cuBLASLt has kernels for, of those that it is asked for here.
bool HasKernel(const cublasLtMatmulDescOpaque_t& operation, const Layouts& all) {
  const bool f32 = all.a->type == CUDA_R_32F && all.c->type == CUDA_R_32F;
  const bool bf16 = all.a->type == CUDA_R_16BF &&
                    (all.c->type == CUDA_R_16BF || all.c->type == CUDA_R_32F) &&
                    operation.compute_type == CUBLAS_COMPUTE_32F;
  return all.a->type == all.b->type && all.c->type == all.d->type && (f32 || bf16);
}

Operand OperandOf(const void* data, const cublasLtMatrixLayoutOpaque_t& layout, bool transposed) {
  return {const_cast<void*>(data), layout.type, transposed ? layout.leading : 1,
          transposed ? 1 : layout.leading};
}

}  // namespace

const char* cublasLtGetStatusString(cublasStatus_t status) {
  switch (status) {
    case CUBLAS_STATUS_SUCCESS:
      return "CUBLAS_STATUS_SUCCESS";
    case CUBLAS_STATUS_NOT_INITIALIZED:
      return "CUBLAS_STATUS_NOT_INITIALIZED";
    case CUBLAS_STATUS_ALLOC_FAILED:
      return "CUBLAS_STATUS_ALLOC_FAILED";
    case CUBLAS_STATUS_INVALID_VALUE:
      return "CUBLAS_STATUS_INVALID_VALUE";
    case CUBLAS_STATUS_EXECUTION_FAILED:
      return "CUBLAS_STATUS_EXECUTION_FAILED";
    case CUBLAS_STATUS_NOT_SUPPORTED:
      return "CUBLAS_STATUS_NOT_SUPPORTED";
  }
  return "unknown status";
}

size_t cublasLtGetVersion() { return 0; }

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  if (handle == nullptr) return CUBLAS_STATUS_INVALID_VALUE;
  int device = 0;
  if (cudaGetDevice(&device) != cudaSuccess) return CUBLAS_STATUS_NOT_INITIALIZED;
  *handle = new cublasLtContext{device};
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) { return Destroy(handle); }

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* operation,
                                        cublasComputeType_t compute_type,
                                        cudaDataType_t scale_type) {
  if (operation == nullptr || scale_type != CUDA_R_32F) return CUBLAS_STATUS_INVALID_VALUE;
  *operation = new cublasLtMatmulDescOpaque_t{compute_type};
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t operation) {
  return Destroy(operation);
}
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t operation,
                                              cublasLtMatmulDescAttributes_t attribute,
                                              const void* value, size_t bytes) {
  int32_t transposition = 0;
  if (operation == nullptr || !Read(value, bytes, transposition)) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  bool& transposes =
      attribute == CUBLASLT_MATMUL_DESC_TRANSA ? operation->transposes_a : operation->transposes_b;
  transposes = transposition == CUBLAS_OP_T;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* layout, cudaDataType_t type,
                                          uint64_t rows, uint64_t columns, int64_t leading) {
  const auto signed_rows = static_cast<int64_t>(rows);
  if (layout == nullptr || leading < signed_rows) return CUBLAS_STATUS_INVALID_VALUE;
  *layout =
      new cublasLtMatrixLayoutOpaque_t{type, signed_rows, static_cast<int64_t>(columns), leading};
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
  return Destroy(layout);
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* preference) {
  if (preference == nullptr) return CUBLAS_STATUS_INVALID_VALUE;
  *preference = new cublasLtMatmulPreferenceOpaque_t;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
  return Destroy(preference);
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                    cublasLtMatmulPreferenceAttributes_t attribute,
                                                    const void* value, size_t bytes) {
  if (preference == nullptr) return CUBLAS_STATUS_INVALID_VALUE;
  bool known = false;
  switch (attribute) {
    case CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES:
      known = Read(value, bytes, preference->workspace_bytes);
      break;
    case CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK:
      known = Read(value, bytes, preference->reductions);
      break;
    default: {
      uint32_t& alignment =
          preference->alignment[attribute - CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES];
      known = Read(value, bytes, alignment) && std::has_single_bit(alignment);
    }
  }
  return known ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle,
                                              cublasLtMatmulDesc_t operation,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t preference, int requested,
                                              cublasLtMatmulHeuristicResult_t* results,
                                              int* found) {
  const Layouts layouts{a, b, c, d};
  Extents extents{};
  if (handle == nullptr || requested < 1 || results == nullptr || found == nullptr ||
      !Fit(*operation, layouts, extents)) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  *found = 0;
  if (!HasKernel(*operation, layouts)) return CUBLAS_STATUS_NOT_SUPPORTED;
  Kernel kernel{.workspace_bytes = std::min(preference->workspace_bytes, kWorkspaceBytes),
                .m = extents.m,
                .n = extents.n,
                .k = extents.k};
  std::copy_n(preference->alignment, 4, kernel.alignment);
  *results = {};
  std::memcpy(&results->algo, &kernel, sizeof kernel);
  results->workspaceSize = kernel.workspace_bytes;
  *found = 1;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t operation,
                              const void* alpha, const void* a, cublasLtMatrixLayout_t a_layout,
                              const void* b, cublasLtMatrixLayout_t b_layout, const void* beta,
                              const void* c, cublasLtMatrixLayout_t c_layout, void* d,
                              cublasLtMatrixLayout_t d_layout, const cublasLtMatmulAlgo_t* algo,
                              void* workspace, size_t workspace_bytes, cudaStream_t stream) {
  Kernel kernel;
  std::memcpy(static_cast<void*>(&kernel), algo, sizeof kernel);
  Extents extents{};
  const Layouts layouts{a_layout, b_layout, c_layout, d_layout};
  const bool fits = kernel.magic == Kernel::kMagic && Fit(*operation, layouts, extents) &&
                    extents.m == kernel.m && extents.n == kernel.n && extents.k == kernel.k;
  const bool aligned = IsAligned(a, kernel.alignment[0]) && IsAligned(b, kernel.alignment[1]) &&
                       IsAligned(c, kernel.alignment[2]) && IsAligned(d, kernel.alignment[3]) &&
                       IsAligned(workspace, kWorkspaceAlignment);
  int device = 0;
  const bool here = cudaGetDevice(&device) == cudaSuccess && handle->device == device;
  if (!fits || !aligned || !here || workspace_bytes < kernel.workspace_bytes) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  const Product product{extents.m,
                        extents.n,
                        extents.k,
                        OperandOf(a, *a_layout, operation->transposes_a),
                        OperandOf(b, *b_layout, operation->transposes_b),
                        OperandOf(c, *c_layout, false),
                        OperandOf(d, *d_layout, false),
                        *static_cast<const float*>(alpha),
                        *static_cast<const float*>(beta),
                        operation->compute_type == CUBLAS_COMPUTE_32F_FAST_TF32,
                        workspace,
                        kernel.workspace_bytes};
  return Multiply(product, stream) == cudaSuccess ? CUBLAS_STATUS_SUCCESS
                                                  : CUBLAS_STATUS_EXECUTION_FAILED;
}
