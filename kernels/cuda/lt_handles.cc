#include "kernels/cuda/lt_handles.h"

#include "kernels/base/error.h"
#include "kernels/cuda/device.h"

namespace annulus::kernels::cuda {
namespace {

cublasLtHandle_t MakeHandle() {
  cublasLtHandle_t handle = nullptr;
  CheckLt(cublasLtCreate(&handle), "cublasLtCreate");
  return handle;
}

cublasLtMatmulDesc_t MakeOperation(cublasComputeType_t arithmetic) {
  cublasLtMatmulDesc_t operation = nullptr;
  CheckLt(cublasLtMatmulDescCreate(&operation, arithmetic, CUDA_R_32F), "cublasLtMatmulDescCreate");
  return operation;
}

cublasLtMatrixLayout_t MakeMatrix(cudaDataType_t type, int64_t rows, int64_t columns,
                                  int64_t leading) {
  cublasLtMatrixLayout_t matrix = nullptr;
  CheckLt(cublasLtMatrixLayoutCreate(&matrix, type, static_cast<uint64_t>(rows),
                                     static_cast<uint64_t>(columns), leading),
          "cublasLtMatrixLayoutCreate");
  return matrix;
}

cublasLtMatmulPreference_t MakePreference() {
  cublasLtMatmulPreference_t preference = nullptr;
  CheckLt(cublasLtMatmulPreferenceCreate(&preference), "cublasLtMatmulPreferenceCreate");
  return preference;
}

}  // namespace

void CheckLt(cublasStatus_t status, std::string_view call, std::source_location place) {
  if (status == CUBLAS_STATUS_SUCCESS) [[likely]]
    return;
  ThrowSystemError("{} failed on {} at {}: {}", call, DescribeCurrentDevice(), PlaceText(place),
                   cublasLtGetStatusString(status));
}

LtHandle::LtHandle() : LtOwned(MakeHandle()) {}

LtOperation::LtOperation(cublasComputeType_t arithmetic, bool first_transposed,
                         bool second_transposed)
    : LtOwned(MakeOperation(arithmetic)) {
  const auto set = [&](cublasLtMatmulDescAttributes_t attribute, bool transposed) {
    const int32_t value = transposed ? CUBLAS_OP_T : CUBLAS_OP_N;
    CheckLt(cublasLtMatmulDescSetAttribute(get(), attribute, &value, sizeof value),
            "cublasLtMatmulDescSetAttribute");
  };
  set(CUBLASLT_MATMUL_DESC_TRANSA, first_transposed);
  set(CUBLASLT_MATMUL_DESC_TRANSB, second_transposed);
}

LtMatrix::LtMatrix(cudaDataType_t type, int64_t rows, int64_t columns, int64_t leading)
    : LtOwned(MakeMatrix(type, rows, columns, leading)) {}

LtPreference::LtPreference() : LtOwned(MakePreference()) {}

}  // namespace annulus::kernels::cuda
