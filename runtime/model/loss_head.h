// The head of a decoder: final norm, projection to the vocabulary and cross-entropy, a chunk of
// tokens at a time, so that the logits of all tokens never exist at once.
#pragma once

#include "runtime/model/parameters.h"
#include "runtime/model/step_context.h"

namespace annulus::runtime {

// Peak: one [N,C] tensor and chunk_tokens * V logits, f32 whatever the model's dtype: rounded to
// bf16 a logit of 8 would be off by up to 0.03, and the loss with it. Their gradient is of that
// dtype.
struct LossHead {
  const DecoderShape& shape;
  const StepContext& context;
  int64_t chunk_tokens;

  // x [N,C], labels [N] i32 (negative: no target). Overwrites loss [N], 0 where there is no target.
  void Forward(const DecoderTensors& weight, ConstView x, ConstView labels, View loss) const;

  // The same, and the gradient of the *sum* of the losses: overwrites dx [N,C] and accumulates
  // those of norm and lm_head.
  void ForwardBackward(const DecoderTensors& weight, const DecoderTensors& gradient, ConstView x,
                       ConstView labels, View loss, View dx) const;

 private:
  struct Normed {
    View rstd;
    View rows;
  };
  Normed Norm(const DecoderTensors& weight, ConstView x) const;
  // Calls body(first row, rows, logits) for each chunk, with the logits computed.
  template <class Body>
  void ForEachChunk(const DecoderTensors& weight, const View& normed, Body body) const;
};

// How many tokens' logits exist at once when the user names no number: some 16 MiB of them, which
// keeps the products large and the cost small beside the activations of a long context.
int64_t DefaultLossChunkTokens(int64_t vocab_size);

}  // namespace annulus::runtime
