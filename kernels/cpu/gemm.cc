#include "kernels/cpu/gemm.h"

#include <algorithm>
#include <cstring>

namespace annulus::kernels::cpu {
namespace {

// A single row's stride means nothing, but oneDNN refuses one shorter than the row.
template <class AnyView>
AnyView WithFullRowStride(AnyView view) {
  if (view.dim(0) == 1) view.stride[0] = std::max(view.stride[0], view.dim(1) * view.stride[1]);
  return view;
}

// oneDNN writes row-major results only: a transposed c = a b is computed as c^T = b^T a^T.
MatMulArgs WithRowMajorResult(const MatMulArgs& args) {
  for (const ConstView& view : {args.a, args.b, ConstView(args.c)}) {
    Check(view.rank == 2 && (view.dtype == DType::kF32 || view.dtype == DType::kBF16),
          "matmul of {}, not a matrix of f32 or bf16", view.ToString());
    Check(view.size() == 0 || IsRowMajor(view) || IsRowMajor(view.Transposed()),
          "matmul of {} without a unit stride", view.ToString());
  }
  const bool as_given = args.c.size() == 0 || IsRowMajor(args.c);
  const MatMulArgs product = as_given ? args
                                      : MatMulArgs{args.b.Transposed(), args.a.Transposed(),
                                                   args.c.Transposed(), args.accumulate};
  return {WithFullRowStride(product.a), WithFullRowStride(product.b), WithFullRowStride(product.c),
          product.accumulate};
}

// A sum over no terms.
void MultiplyNothing(const MatMulArgs& args) {
  if (args.accumulate) return;
  for (int64_t row = 0; row < args.c.dim(0); ++row) {
    const View c = args.c.Slice(0, row, 1);
    std::memset(c.data, 0, static_cast<size_t>(c.size_bytes()));
  }
}

}  // namespace

// A folded sum is accumulated in c, which must be f32 then.
bool Gemm::Widens(const MatMulArgs& args) const {
  if (args.a.dtype == DType::kF32) return false;
  const bool folds = args.a.dim(1) > OneDnnProducts::FoldDepth(args);
  return bf16_ == Bf16Products::kWidened || (folds && args.c.dtype != DType::kF32);
}

int64_t Gemm::ScratchBytes(const MatMulArgs& given) {
  const MatMulArgs args = WithRowMajorResult(given);
  if (args.c.size() == 0 || args.a.dim(1) == 0) return 0;
  return Widens(args) ? widened_.ScratchBytes(args) : onednn_.ScratchBytes(args);
}

void Gemm::MatMul(const MatMulArgs& given, View scratch) {
  const MatMulArgs args = WithRowMajorResult(given);
  if (args.c.size() == 0) return;
  if (args.a.dim(1) == 0) return MultiplyNothing(args);
  Widens(args) ? widened_.MatMul(args, scratch) : onednn_.MatMul(args, scratch);
}

std::string Gemm::Describe(DType dtype) {
  const std::string library = "oneDNN " + OneDnnProducts::Version() + ", ";
  const bool widens =
      dtype == DType::kBF16 && ChooseBf16Products().products == Bf16Products::kWidened;
  if (widens) return library + OneDnnProducts::Implementation(DType::kF32) + " on widened blocks";
  return library + OneDnnProducts::Implementation(dtype);
}

}  // namespace annulus::kernels::cpu
