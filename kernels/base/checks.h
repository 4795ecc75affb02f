// What the front of the kernel tables (kernels.h) checks of tensors; `what` names one in the error.
#pragma once

#include <initializer_list>
#include <string_view>

#include "kernels/base/error.h"
#include "kernels/base/ops.h"

namespace annulus::kernels {

inline void CheckDType(const ConstView& view, DType dtype, std::string_view what) {
  Check(view.dtype == dtype && view.contiguous(), "{} must be contiguous {}, not {}", what,
        NameOf(dtype), view);
}
inline void CheckF32(const ConstView& view, std::string_view what) {
  CheckDType(view, DType::kF32, what);
}

inline void CheckShape(const ConstView& view, std::initializer_list<int64_t> dims,
                       std::string_view what) {
  bool same = view.rank == static_cast<int>(dims.size());
  int d = 0;
  for (int64_t extent : dims) same = same && view.dim(d++) == extent;
  Check(same, "{} has the wrong shape: {}", what, view);
}
inline void CheckDims(const ConstView& view, std::initializer_list<int64_t> dims,
                      std::string_view what) {
  CheckShape(view, dims, what);
  CheckF32(view, what);
}

// What ops.h calls T.
inline void CheckElement(DType dtype, std::string_view what) {
  Check(dtype == DType::kF32 || dtype == DType::kBF16, "{} must be f32 or bf16, not {}", what,
        NameOf(dtype));
}
inline void CheckDims(const ConstView& view, std::initializer_list<int64_t> dims, DType dtype,
                      std::string_view what) {
  CheckShape(view, dims, what);
  CheckDType(view, dtype, what);
}

inline void CheckTokens(const ConstView& view, int64_t count, std::string_view what) {
  Check(view.dtype == DType::kI32 && view.contiguous() && view.size() == count,
        "{} must be {} contiguous i32, not {}", what, count, view);
}

inline void CheckProblem(const AttentionProblem& p) {
  Check(p.kv_heads >= 1 && p.heads % p.kv_heads == 0, "{} query heads over {} key/value heads",
        p.heads, p.kv_heads);
  Check(p.head_dim >= 1 && p.batch >= 1, "an attention needs a head size and a batch");
  Check(p.dtype == DType::kF32 || p.dtype == DType::kBF16, "attention in {}", NameOf(p.dtype));
}

inline void CheckQueryShaped(const AttentionProblem& p, const ConstView& view,
                             std::string_view what) {
  CheckShape(view, {p.batch, p.query_tokens(), p.heads, p.head_dim}, what);
  CheckDType(view, p.dtype, what);
}

// Of some of a block's keys: the sequences may lie apart.
inline void CheckKeyShaped(const AttentionProblem& p, const KeyBlock& block, const ConstView& view,
                           DType dtype, std::string_view what) {
  CheckShape(view, {p.batch, block.positions.tokens(), p.kv_heads, p.head_dim}, what);
  CheckDType(view.Slice(0, 0, 1), dtype, what);
}

inline void CheckKeys(const AttentionProblem& p, const KeyBlock& block) {
  for (const ConstView& view : {block.k, block.v}) {
    CheckKeyShaped(p, block, view, p.dtype, "k or v");
  }
}

inline void CheckOutputs(const AttentionProblem& p, const AttentionOutputs& outputs) {
  CheckQueryShaped(p, outputs.out, "out");
  CheckDims(outputs.lse, {p.batch, p.heads, p.query_tokens()}, "lse");
}

inline void CheckKeyGradient(const AttentionProblem& p, const KeyBlock& block, const View& view) {
  CheckKeyShaped(p, block, view, DType::kF32, "dk or dv");
}

}  // namespace annulus::kernels
