#include "kernels/cuda/lt_products.h"

#include <cublasLt.h>

#include <algorithm>
#include <array>
#include <map>
#include <optional>

#include "kernels/base/memory.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/lt_handles.h"

namespace annulus::kernels::cuda {
namespace {

// cuBLASLt wants its workspace aligned to this, the stack to less.
constexpr int64_t kWorkspaceAlignment = 256;
constexpr int64_t kLeastWorkspace = int64_t{1} << 20;
// What NVIDIA advises for Hopper.
constexpr int64_t kMostWorkspace = int64_t{32} << 20;
constexpr int64_t kPartialResults = 4;

int64_t WorkspaceBytes(const MatMulArgs& args) {
  const int64_t partials = kPartialResults * args.c.size() * SizeOf(DType::kF32);
  return std::clamp(partials / kWorkspaceAlignment * kWorkspaceAlignment, kLeastWorkspace,
                    kMostWorkspace);
}

// cuBLASLt reads matrices by columns: a row-major one is its transpose there.
struct Factor {
  const void* data;
  bool transposed;  // what cuBLASLt multiplies by is the transpose of what it reads
  int64_t rows, columns, leading;
};

bool IsRowMajor(const ConstView& view) {
  return view.stride[1] == 1 && (view.stride[0] >= view.dim(1) || view.dim(0) == 1);
}

Factor RowMajorFactor(const ConstView& view, bool transposed) {
  return {view.data, transposed, view.dim(1), view.dim(0), std::max(view.stride[0], view.dim(1))};
}

// The transpose of `view`, as cuBLASLt reads it.
Factor TransposeOf(const ConstView& view) {
  Check(view.rank == 2 && (IsRowMajor(view) || IsRowMajor(view.Transposed())),
        "matmul of {} without a unit stride", view);
  return IsRowMajor(view) ? RowMajorFactor(view, false) : RowMajorFactor(view.Transposed(), true);
}

cudaDataType_t TypeOf(DType dtype) { return dtype == DType::kBF16 ? CUDA_R_16BF : CUDA_R_32F; }

// c^T = b^T a^T, of a row-major c, in cuBLASLt's terms.
struct Product {
  explicit Product(const MatMulArgs& args)
      : first(TransposeOf(args.b)),
        second(TransposeOf(args.a)),
        result(RowMajorFactor(args.c, false)),
        accumulate(args.accumulate),
        factor_dtype(args.a.dtype),
        result_dtype(args.c.dtype) {}

  Factor first, second, result;
  bool accumulate;
  DType factor_dtype, result_dtype;

  int64_t depth() const { return first.transposed ? first.rows : first.columns; }
};

uint32_t AlignmentOf(const void* data) {
  constexpr uintptr_t kMost = 16;
  const uintptr_t address = reinterpret_cast<uintptr_t>(data) | kMost;
  return static_cast<uint32_t>(address & (~address + 1));
}

// What the choice of a kernel depends on.
using Key = std::array<int64_t, 15>;

Key KeyOf(const Product& p, int64_t workspace_bytes) {
  return {p.result.rows,
          p.result.columns,
          p.depth(),
          p.first.leading,
          p.second.leading,
          p.result.leading,
          p.first.transposed,
          p.second.transposed,
          p.accumulate,
          static_cast<int64_t>(p.factor_dtype),
          static_cast<int64_t>(p.result_dtype),
          AlignmentOf(p.first.data),
          AlignmentOf(p.second.data),
          AlignmentOf(p.result.data),
          workspace_bytes};
}

LtMatrix MatrixOf(const Factor& factor, DType dtype) {
  return LtMatrix(TypeOf(dtype), factor.rows, factor.columns, factor.leading);
}

// A product that cuBLASLt has a kernel for.
struct Chosen {
  LtOperation operation;
  LtMatrix first, second, result;
  cublasLtMatmulAlgo_t kernel{};

  // The first that the heuristic names, of those that add partial sums in f32.
  void Choose(cublasLtHandle_t handle, const Product& product, int64_t workspace_bytes) {
    const LtPreference preference;
    preference.Set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                   static_cast<uint64_t>(workspace_bytes));
    preference.Set(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
                   uint32_t{CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE});
    preference.Set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, AlignmentOf(product.first.data));
    preference.Set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, AlignmentOf(product.second.data));
    preference.Set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, AlignmentOf(product.result.data));
    preference.Set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, AlignmentOf(product.result.data));
    cublasLtMatmulHeuristicResult_t found{};
    int count = 0;
    CheckLt(cublasLtMatmulAlgoGetHeuristic(handle, operation.get(), first.get(), second.get(),
                                           result.get(), result.get(), preference.get(), 1, &found,
                                           &count),
            "cublasLtMatmulAlgoGetHeuristic");
    CheckLt(count == 1 ? found.state : CUBLAS_STATUS_NOT_SUPPORTED,
            fmt::format("cublasLtMatmulAlgoGetHeuristic of {} [{},{}] by [{},{}] into {}",
                        NameOf(product.factor_dtype), product.result.columns, product.depth(),
                        product.depth(), product.result.rows, NameOf(product.result_dtype)));
    kernel = found.algo;
  }
};

}  // namespace

struct LtProducts::Cache {
  explicit Cache(F32Products f32)
      : f32_type(f32 == F32Products::kTf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F) {}

  const Chosen& Find(const Product& product, int64_t workspace_bytes) {
    const Key key = KeyOf(product, workspace_bytes);
    const auto found = chosen.find(key);
    if (found != chosen.end()) return found->second;
    const bool is_f32 = product.factor_dtype == DType::kF32;
    Chosen made{LtOperation(is_f32 ? f32_type : CUBLAS_COMPUTE_32F, product.first.transposed,
                            product.second.transposed),
                MatrixOf(product.first, product.factor_dtype),
                MatrixOf(product.second, product.factor_dtype),
                MatrixOf(product.result, product.result_dtype)};
    made.Choose(handle.get(), product, workspace_bytes);
    return chosen.emplace(key, std::move(made)).first->second;
  }

  void Multiply(const Product& product, const View& scratch, int64_t workspace_bytes,
                cudaStream_t stream) {
    const Chosen& choice = Find(product, workspace_bytes);
    const auto address = reinterpret_cast<uintptr_t>(scratch.data);
    const auto past = static_cast<int64_t>(address % kWorkspaceAlignment);
    const int64_t skipped = past == 0 ? 0 : kWorkspaceAlignment - past;
    Check(skipped + workspace_bytes <= scratch.size_bytes(), "matmul scratch of {} bytes",
          scratch.size_bytes());
    const float alpha = 1, beta = product.accumulate ? 1 : 0;
    void* const result = const_cast<void*>(product.result.data);
    CheckLt(cublasLtMatmul(handle.get(), choice.operation.get(), &alpha, product.first.data,
                           choice.first.get(), product.second.data, choice.second.get(), &beta,
                           result, choice.result.get(), result, choice.result.get(), &choice.kernel,
                           static_cast<char*>(scratch.data) + skipped,
                           static_cast<size_t>(workspace_bytes), stream),
            "cublasLtMatmul");
  }

  LtHandle handle;
  cublasComputeType_t f32_type;
  std::map<Key, Chosen> chosen;
};

LtProducts::LtProducts(F32Products f32) : cache_(std::make_unique<Cache>(f32)) {}
LtProducts::~LtProducts() = default;

int64_t LtProducts::ScratchBytes(const MatMulArgs& args) {
  if (args.c.size() == 0 || args.a.dim(1) == 0) return 0;
  return WorkspaceBytes(args) + kWorkspaceAlignment - StackMemory::kAlignment;
}

void LtProducts::MatMul(const MatMulArgs& args, View scratch, cudaStream_t stream) {
  if (args.c.size() == 0) return;
  Check(args.c.rank == 2 && (IsRowMajor(args.c) || IsRowMajor(args.c.Transposed())),
        "matmul into {} without a unit stride", args.c);
  if (!IsRowMajor(args.c)) {
    return MatMul({args.b.Transposed(), args.a.Transposed(), args.c.Transposed(), args.accumulate},
                  scratch, stream);
  }
  if (args.a.dim(1) > 0) {
    return cache_->Multiply(Product(args), scratch, WorkspaceBytes(args), stream);
  }
  // A sum over no terms.
  if (args.accumulate) return;
  const int64_t rows = args.c.contiguous() ? 1 : args.c.dim(0);
  for (int64_t row = 0; row < rows; ++row) {
    const View part = rows == 1 ? args.c : args.c.Slice(0, row, 1);
    CheckCuda(cudaMemsetAsync(part.data, 0, static_cast<size_t>(part.size_bytes()), stream),
              "cudaMemsetAsync");
  }
}

std::string LtProducts::Version() {
  const size_t version = cublasLtGetVersion();
  return fmt::format("cuBLASLt {}.{}.{}", version / 10000, version / 100 % 100, version % 100);
}

}  // namespace annulus::kernels::cuda
