#include "tests/cuda/emulator/tensor_map.h"

#include <cstring>

#include "tests/cuda/emulator/memory.h"
#include "tests/cuda/emulator/report.h"
#include "tests/cuda/emulator/runtime_api.h"

namespace annulus::emulator {
namespace {

// CUDA Driver API, cuTensorMapEncodeTiled: what it requires.
bool IsValid(const TensorMap& map, const void* place) {
  const auto address = reinterpret_cast<uintptr_t>(map.data);
  if (reinterpret_cast<uintptr_t>(place) % 64 != 0 || address % 16 != 0) return false;
  for (size_t d = 0; d < map.rank; ++d) {
    if (map.dims[d] == 0 || map.box[d] == 0 || map.box[d] > 256) return false;
    if (d == 0) continue;
    const uint64_t stride = map.strides[d - 1];
    if (stride % 16 != 0 || stride >= uint64_t{1} << 40) return false;
  }
  const uint32_t inner = map.box[0] * uint32_t{map.element_bytes};
  if (inner % 16 != 0) return false;
  const uint32_t span = 16u << map.swizzle;
  return map.swizzle == CU_TENSOR_MAP_SWIZZLE_NONE || inner <= span;
}

size_t SpanOf(const TensorMap& map) {
  size_t bytes = size_t{map.dims[0]} * map.element_bytes;
  for (size_t d = 1; d < map.rank; ++d) bytes += (map.dims[d] - size_t{1}) * map.strides[d - 1];
  return bytes;
}

}  // namespace
}  // namespace annulus::emulator

CUresult cuTensorMapEncodeTiled(CUtensorMap* place, CUtensorMapDataType type, cuuint32_t rank,
                                void* data, const cuuint64_t* dims, const cuuint64_t* strides,
                                const cuuint32_t* box, const cuuint32_t* steps,
                                CUtensorMapInterleave interleave, CUtensorMapSwizzle swizzle,
                                CUtensorMapL2promotion, CUtensorMapFloatOOBfill) {
  namespace emulator = annulus::emulator;
  if (rank < 1 || rank > emulator::kMostDims) return CUDA_ERROR_INVALID_VALUE;
  if (interleave != CU_TENSOR_MAP_INTERLEAVE_NONE) return CUDA_ERROR_NOT_SUPPORTED;
  emulator::TensorMap map;
  map.rank = static_cast<uint8_t>(rank);
  map.element_bytes = type == CU_TENSOR_MAP_DATA_TYPE_FLOAT32 ? 4 : 2;
  map.swizzle = static_cast<uint8_t>(swizzle);
  map.data = data;
  for (size_t d = 0; d < rank; ++d) {
    if (steps[d] != 1) return CUDA_ERROR_NOT_SUPPORTED;
    if (dims[d] > uint64_t{0xffffffff} || box[d] > 256) return CUDA_ERROR_INVALID_VALUE;
    map.dims[d] = static_cast<uint32_t>(dims[d]);
    map.box[d] = static_cast<uint16_t>(box[d]);
    if (d > 0) map.strides[d - 1] = strides[d - 1];
  }
  if (!emulator::IsValid(map, place)) return CUDA_ERROR_INVALID_VALUE;
  const auto allocation = emulator::FindOnDevice(data);
  if (!allocation || !allocation->Holds(data, emulator::SpanOf(map))) {
    Tell(emulator::Defect::kMemory, "a tensor map covers more than a device allocation");
  }
  *place = {};
  std::memcpy(place, &map, sizeof map);
  return CUDA_SUCCESS;
}

cudaError_t cudaGetDriverEntryPointByVersion(const char* symbol, void** entry, unsigned, uint64_t,
                                             cudaDriverEntryPointQueryResult* result) {
  const bool found = std::strcmp(symbol, "cuTensorMapEncodeTiled") == 0;
  *entry = found ? reinterpret_cast<void*>(&cuTensorMapEncodeTiled) : nullptr;
  if (result != nullptr) {
    *result = found ? cudaDriverEntryPointSuccess : cudaDriverEntryPointSymbolNotFound;
  }
  return cudaSuccess;
}
