// cuBLASLt's handles and descriptors, owned, and its calls, checked.
#pragma once

#include <cublasLt.h>

#include <cstdint>
#include <memory>
#include <source_location>
#include <string_view>
#include <type_traits>

namespace annulus::kernels::cuda {

// Throws SystemError unless `status` is success, with call, source line, device and cuBLAS' words.
void CheckLt(cublasStatus_t status, std::string_view call,
             std::source_location place = std::source_location::current());

// Owns what kDestroy takes.
template <class Pointer, auto kDestroy>
class LtOwned {
 public:
  explicit LtOwned(Pointer pointer) : pointer_(pointer) {}
  Pointer get() const { return pointer_.get(); }

 private:
  struct Destroy {
    void operator()(Pointer pointer) const { (void)kDestroy(pointer); }
  };
  std::unique_ptr<std::remove_pointer_t<Pointer>, Destroy> pointer_;
};

class LtHandle : public LtOwned<cublasLtHandle_t, cublasLtDestroy> {
 public:
  LtHandle();
};

// result = op(first) * op(second) with f32 scaling.
class LtOperation : public LtOwned<cublasLtMatmulDesc_t, cublasLtMatmulDescDestroy> {
 public:
  LtOperation(cublasComputeType_t arithmetic, bool first_transposed, bool second_transposed);
};

// A matrix read by columns, `leading` elements apart.
class LtMatrix : public LtOwned<cublasLtMatrixLayout_t, cublasLtMatrixLayoutDestroy> {
 public:
  LtMatrix(cudaDataType_t type, int64_t rows, int64_t columns, int64_t leading);
};

// What the heuristic may choose from.
class LtPreference : public LtOwned<cublasLtMatmulPreference_t, cublasLtMatmulPreferenceDestroy> {
 public:
  LtPreference();

  template <class Value>
  void Set(cublasLtMatmulPreferenceAttributes_t attribute, Value value) const {
    CheckLt(cublasLtMatmulPreferenceSetAttribute(get(), attribute, &value, sizeof value),
            "cublasLtMatmulPreferenceSetAttribute");
  }
};

}  // namespace annulus::kernels::cuda
