#include "runtime/model/loss_head.h"

#include <algorithm>

namespace annulus::runtime {

using kernels::DType;
using kernels::MemoryCategory;
using kernels::MemoryScope;

int64_t DefaultLossChunkTokens(int64_t vocab_size) {
  constexpr int64_t kChunkBytes = int64_t{16} << 20;
  return std::clamp<int64_t>(kChunkBytes / (vocab_size * SizeOf(DType::kF32)), 64, 4096);
}

namespace {

// The gradient of `logits` [M,V], in their own memory: each of its rows begins where theirs does.
View GradientOf(const View& logits, DType dtype) {
  View gradient(logits.data, dtype, {logits.dim(0), logits.dim(1)});
  gradient.stride[0] = logits.stride[0] * SizeOf(logits.dtype) / SizeOf(dtype);
  return gradient;
}

}  // namespace

LossHead::Normed LossHead::Norm(const DecoderTensors& weight, ConstView x) const {
  const Normed normed{.rstd = context.memory.Allocate(DType::kF32, {x.dim(0)},
                                                      MemoryCategory::kActivations, "final norm"),
                      .rows = context.memory.Allocate(x.dtype, {x.dim(0), x.dim(1)},
                                                      MemoryCategory::kActivations, "final norm")};
  context.kernels.RmsNorm({.x = x,
                           .weight = weight.norm,
                           .eps = shape.rms_norm_eps,
                           .y = normed.rows,
                           .rstd = normed.rstd});
  return normed;
}

template <class Body>
void LossHead::ForEachChunk(const DecoderTensors& weight, const View& normed, Body body) const {
  const int64_t rows = normed.dim(0);
  MemoryScope scope(context.memory);
  const View buffer =
      context.memory.Allocate(DType::kF32, {std::min(chunk_tokens, rows), shape.vocab_size},
                              MemoryCategory::kLogits, "one chunk of logits");
  for (int64_t first = 0; first < rows; first += chunk_tokens) {
    const int64_t count = std::min(chunk_tokens, rows - first);
    const View logits = buffer.Slice(0, 0, count);
    context.kernels.MatMul(
        {.a = normed.Slice(0, first, count), .b = weight.lm_head.Transposed(), .c = logits});
    body(first, count, logits);
  }
}

void LossHead::Forward(const DecoderTensors& weight, ConstView x, ConstView labels,
                       View loss) const {
  MemoryScope scope(context.memory);
  const Normed normed = Norm(weight, x);
  ForEachChunk(weight, normed.rows, [&](int64_t first, int64_t count, const View& logits) {
    context.kernels.CrossEntropy({.logits = logits,
                                  .labels = labels.Slice(0, first, count),
                                  .loss = loss.Slice(0, first, count)});
  });
}

void LossHead::ForwardBackward(const DecoderTensors& weight, const DecoderTensors& gradient,
                               ConstView x, ConstView labels, View loss, View dx) const {
  MemoryScope scope(context.memory);
  const Normed normed = Norm(weight, x);
  ForEachChunk(weight, normed.rows, [&](int64_t first, int64_t count, const View& logits) {
    const View dlogits = GradientOf(logits, shape.dtype);
    context.kernels.CrossEntropy({.logits = logits,
                                  .labels = labels.Slice(0, first, count),
                                  .loss = loss.Slice(0, first, count),
                                  .gradient = dlogits});
    // The normed rows give way to their gradient.
    const View rows = normed.rows.Slice(0, first, count);
    context.kernels.MatMul(
        {.a = dlogits.Transposed(), .b = rows, .c = gradient.lm_head, .accumulate = true});
    context.kernels.MatMul({.a = dlogits, .b = weight.lm_head, .c = rows});
  });
  context.kernels.Zero(dx);
  context.kernels.RmsNormBackward({.dy = normed.rows,
                                   .x = x,
                                   .weight = weight.norm,
                                   .rstd = normed.rstd,
                                   .dx = dx,
                                   .dweight = gradient.norm});
}

}  // namespace annulus::runtime
