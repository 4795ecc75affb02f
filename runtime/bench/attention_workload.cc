#include "runtime/bench/attention_workload.h"

#include <cmath>

#include "runtime/bench/naive_attention.h"

namespace annulus::runtime {
namespace {

using kernels::DType;
using kernels::MemoryCategory;
using kernels::MemoryScope;
using kernels::View;

kernels::AttentionProblem ProblemOf(const AttentionCase& shape, const kernels::Mask& mask) {
  return {.batch = shape.batch,
          .heads = shape.heads,
          .kv_heads = shape.kv_heads,
          .head_dim = shape.head_dim,
          .scale = 1.0f / std::sqrt(static_cast<float>(shape.head_dim)),
          .dtype = shape.dtype,
          .queries = kernels::Positions({.start = 0, .stride = 1, .count = shape.n}),
          .mask = mask};
}

class FusedAttentionWorkload final : public AttentionWorkload {
 public:
  FusedAttentionWorkload(const AttentionCase& shape, const WorkloadContext& context)
      : AttentionWorkload(shape, context),
        lse_(context.memory.Allocate(DType::kF32, {shape.batch, shape.heads, shape.n},
                                     MemoryCategory::kActivations, "log-sum-exp")) {}

  void Forward() override {
    MemoryScope scope(context_.memory);
    const auto args = context_.kernels.AttentionForwardBegin(problem(), tensors_.q);
    context_.kernels.AttentionForwardLast(args, Keys(), {tensors_.out, lse_});
  }

  void Backward() override {
    MemoryScope scope(context_.memory);
    context_.kernels.Zero(tensors_.dk);
    context_.kernels.Zero(tensors_.dv);
    const auto args = context_.kernels.AttentionBackwardBegin(
        problem(), {.q = tensors_.q, .out = tensors_.out, .dout = tensors_.dout, .lse = lse_});
    context_.kernels.AttentionBackwardFold(args, Keys(), {tensors_.dk, tensors_.dv});
    context_.kernels.AttentionBackwardFinish(args, tensors_.dq);
  }

 private:
  kernels::KeyBlock Keys() const { return {tensors_.k, tensors_.v, problem().queries}; }

  View lse_;
};

}  // namespace

std::string_view NameOf(AttentionMethod method) {
  return method == AttentionMethod::kFused ? "fused" : "naive";
}

AttentionWorkload::AttentionWorkload(const AttentionCase& shape, const WorkloadContext& context)
    : context_(context),
      shape_(shape),
      mask_(MakeBenchMask(shape.mask, shape.n, shape.window)),
      problem_(ProblemOf(shape, mask_.mask)),
      pair_features_(shape.batch * shape.heads * shape.head_dim * AllowedPairs(mask_.mask)) {
  const auto allocate = [&](int64_t heads) {
    return context_.memory.Allocate(shape.dtype, {shape.batch, shape.n, heads, shape.head_dim},
                                    MemoryCategory::kActivations, "attention");
  };
  tensors_.q = allocate(shape.heads);
  tensors_.k = allocate(shape.kv_heads);
  tensors_.v = allocate(shape.kv_heads);
  tensors_.out = allocate(shape.heads);
}

void AttentionWorkload::Fill() {
  FillRandom(context_.kernels, tensors_.q, 1);
  FillRandom(context_.kernels, tensors_.k, 2);
  FillRandom(context_.kernels, tensors_.v, 3);
}

void AttentionWorkload::PrepareBackward() {
  const auto allocate = [&](DType dtype, int64_t heads) {
    return context_.memory.Allocate(dtype, {shape_.batch, shape_.n, heads, shape_.head_dim},
                                    MemoryCategory::kActivations, "attention gradient");
  };
  tensors_.dout = allocate(shape_.dtype, shape_.heads);
  tensors_.dq = allocate(shape_.dtype, shape_.heads);
  tensors_.dk = allocate(DType::kF32, shape_.kv_heads);
  tensors_.dv = allocate(DType::kF32, shape_.kv_heads);
  context_.kernels.Copy(tensors_.out, tensors_.dout);
}

std::unique_ptr<AttentionWorkload> NewAttention(AttentionMethod method, const AttentionCase& shape,
                                                const WorkloadContext& context) {
  if (method == AttentionMethod::kNaive) return NewNaiveAttention(shape, context);
  return std::make_unique<FusedAttentionWorkload>(shape, context);
}

}  // namespace annulus::runtime
