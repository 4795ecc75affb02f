#include "runtime/bench/naive_attention.h"

#include <algorithm>
#include <vector>

namespace annulus::runtime {
namespace {

using kernels::DType;
using kernels::KeySegment;
using kernels::MemoryCategory;
using kernels::MemoryScope;
using kernels::View;

// The keys of every query of a mask over mask.length tokens.
class KeySegments {
 public:
  explicit KeySegments(const kernels::Mask& mask) {
    first_.push_back(0);
    for (int64_t query = 0; query < mask.length; ++query) {
      Append(mask, query);
      first_.push_back(static_cast<int64_t>(segments_.size()));
    }
  }

  kernels::AllowedKeys keys() const { return {segments_, first_}; }

 private:
  void Append(const kernels::Mask& mask, int64_t query) {
    const kernels::Mask::KeyRange range = mask.Keys(query);
    const int64_t end = range.last + 1;
    if (mask.kind != kernels::MaskKind::kBlockSparse) {
      segments_.push_back({range.first, end});
      return;
    }
    const int64_t tokens = mask.blocks.block_tokens, block = query / tokens;
    bool joins = false;  // the segment before
    for (int64_t b = 0; b <= block; ++b) {
      const bool selected = mask.blocks.Selects(block, b);
      if (selected && !joins) segments_.push_back({b * tokens, 0});
      if (selected) segments_.back().end = std::min(end, (b + 1) * tokens);
      joins = selected;
    }
  }

  std::vector<KeySegment> segments_;
  std::vector<int64_t> first_;
};

// [n,D] of one head of one sequence of x [B,n,heads,D].
View HeadOf(const View& x, int64_t batch, int64_t head) {
  View rows = x.Slice(0, batch, 1).Slice(2, head, 1);
  rows.rank = 2;
  rows.shape = {x.dim(1), x.dim(3), 1, 1};
  rows.stride = {x.stride[1], x.stride[3], 0, 0};
  return rows;
}

class NaiveAttentionWorkload final : public AttentionWorkload {
 public:
  NaiveAttentionWorkload(const AttentionCase& shape, const WorkloadContext& context)
      : AttentionWorkload(shape, context), segments_(problem().mask) {}

  void Forward() override {
    p_ = context_.memory.Allocate(shape_.dtype, {shape_.batch * shape_.heads, shape_.n, shape_.n},
                                  MemoryCategory::kActivations, "probabilities");
    ForEachHead([this](const Head& h) { ForwardHead(h); });
  }

  void Backward() override {
    ForEachHead([this](const Head& h) { BackwardHead(h); });
  }

 private:
  struct Head {
    int64_t batch;
    int64_t query;
    int64_t key;
    bool first_of_group;  // the first query head on its key head
    View p;               // [n,n]
  };

  template <class Visit>
  void ForEachHead(const Visit& visit) {
    const int64_t group = shape_.heads / shape_.kv_heads;
    for (int64_t i = 0; i < p_.dim(0); ++i) {
      const int64_t head = i % shape_.heads;
      visit({.batch = i / shape_.heads,
             .query = head,
             .key = head / group,
             .first_of_group = head % group == 0,
             .p = p_.Slice(0, i, 1).Reshape({shape_.n, shape_.n})});
    }
  }

  View Square(DType dtype) {
    return context_.memory.Allocate(dtype, {shape_.n, shape_.n}, MemoryCategory::kAttention,
                                    "scores");
  }

  void ForwardHead(const Head& h) {
    MemoryScope scope(context_.memory);
    const View scores = shape_.dtype == DType::kF32 ? h.p : Square(DType::kF32);
    const View q = HeadOf(tensors_.q, h.batch, h.query), k = HeadOf(tensors_.k, h.batch, h.key);
    context_.kernels.MatMul({.a = q, .b = k.Transposed(), .c = scores});
    context_.kernels.MaskedSoftmax(
        {.scores = scores, .keys = segments_.keys(), .scale = problem().scale, .p = h.p});
    context_.kernels.MatMul({.a = h.p,
                             .b = HeadOf(tensors_.v, h.batch, h.key),
                             .c = HeadOf(tensors_.out, h.batch, h.query)});
  }

  void BackwardHead(const Head& h) {
    MemoryScope scope(context_.memory);
    const bool adds = !h.first_of_group;
    const View dout = HeadOf(tensors_.dout, h.batch, h.query);
    const View q = HeadOf(tensors_.q, h.batch, h.query), k = HeadOf(tensors_.k, h.batch, h.key);
    const View v = HeadOf(tensors_.v, h.batch, h.key);
    const View dp = Square(DType::kF32);
    const View ds = shape_.dtype == DType::kF32 ? dp : Square(shape_.dtype);
    kernels::Kernels& kernels = context_.kernels;
    kernels.MatMul({.a = h.p.Transposed(),
                    .b = dout,
                    .c = HeadOf(tensors_.dv, h.batch, h.key),
                    .accumulate = adds});
    kernels.MatMul({.a = dout, .b = v.Transposed(), .c = dp});
    kernels.MaskedSoftmaxBackward({.p = h.p, .dp = dp, .scale = problem().scale, .ds = ds});
    kernels.MatMul({.a = ds, .b = k, .c = HeadOf(tensors_.dq, h.batch, h.query)});
    kernels.MatMul({.a = ds.Transposed(),
                    .b = q,
                    .c = HeadOf(tensors_.dk, h.batch, h.key),
                    .accumulate = adds});
  }

  KeySegments segments_;
  View p_;  // [B*H,n,n], from Forward on
};

}  // namespace

std::unique_ptr<AttentionWorkload> NewNaiveAttention(const AttentionCase& shape,
                                                     const WorkloadContext& context) {
  return std::make_unique<NaiveAttentionWorkload>(shape, context);
}

}  // namespace annulus::runtime
