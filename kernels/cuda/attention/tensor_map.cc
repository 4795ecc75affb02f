#include "kernels/cuda/attention/tensor_map.h"

#include "kernels/base/error.h"
#include "kernels/cuda/device.h"

namespace annulus::kernels::cuda {
namespace {

using EncodeTiled = decltype(&cuTensorMapEncodeTiled);

// The driver's function, without linking to the driver.
EncodeTiled FindEncodeTiled() {
  void* entry = nullptr;
  cudaDriverEntryPointQueryResult result{};
  CheckCuda(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &entry, 12000,
                                             cudaEnableDefault, &result),
            "cudaGetDriverEntryPointByVersion of cuTensorMapEncodeTiled");
  if (result != cudaDriverEntryPointSuccess || entry == nullptr) {
    ThrowSystemError(
        "the driver has no cuTensorMapEncodeTiled, which kernels for Hopper need: "
        "a driver of CUDA 12.0 or later has");
  }
  return reinterpret_cast<EncodeTiled>(entry);
}

}  // namespace

CUtensorMap MapTensor(const MappedTensor& tensor, int box_rows) {
  static const EncodeTiled encode = FindEncodeTiled();
  CUtensorMap map;
  const cuuint64_t dims[3] = {static_cast<cuuint64_t>(tensor.columns),
                              static_cast<cuuint64_t>(tensor.tokens),
                              static_cast<cuuint64_t>(tensor.batch)};
  const cuuint64_t row_bytes = dims[0] * sizeof(BFloat16);
  const cuuint64_t strides[2] = {row_bytes, static_cast<cuuint64_t>(tensor.rows) * row_bytes};
  const cuuint32_t box[3] = {kBoxColumns, static_cast<cuuint32_t>(box_rows), 1};
  const cuuint32_t steps[3] = {1, 1, 1};
  const CUresult status =
      encode(&map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 3, const_cast<BFloat16*>(tensor.data), dims,
             strides, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
             CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (status != CUDA_SUCCESS) {
    ThrowSystemError("cuTensorMapEncodeTiled of a tensor of {} x {} x {} bf16 failed: CUresult {}",
                     tensor.batch, tensor.tokens, tensor.columns, static_cast<int>(status));
  }
  return map;
}

}  // namespace annulus::kernels::cuda
