// What the model's code runs against: a kernel table, a communicator and memory, real or dry.
#pragma once

#include <cmath>
#include <vector>

#include "kernels/base/kernels.h"
#include "kernels/base/memory.h"
#include "parallel/context_attention.h"
#include "runtime/model/decoder_shape.h"

namespace annulus::runtime {

struct StepContext {
  kernels::Kernels& kernels;
  kernels::StackMemory& memory;
  parallel::Communicator& world;          // data x context: gradients and losses are summed over it
  const parallel::ContextGroup& context;  // the ranks that share a sequence
};

// Attention over `batch` sequences, with all heads of the model.
inline parallel::AttentionShape AttentionOf(const DecoderShape& shape, int64_t batch) {
  return {.batch = batch,
          .heads = shape.num_attention_heads,
          .kv_heads = shape.num_key_value_heads,
          .head_dim = shape.head_dim,
          .scale = 1.0f / std::sqrt(static_cast<float>(shape.head_dim))};
}

// How the sequences of a micro-batch lie over the ranks of a context group.
struct SequenceShape {
  int64_t batch = 1;  // B
  parallel::Partition partition;
  // Of partition.length() tokens: one for all sequences, or one for each.
  std::vector<kernels::Mask> masks;
  // What this rank attends with: its share of the heads (parallel::HeldBy), of held_tokens().
  parallel::AttentionShape held;

  int64_t tokens() const { return partition.local_tokens(); }  // T
  int64_t rows() const { return batch * tokens(); }            // N
  // Of all ranks of this one's Ulysses group: U*T.
  int64_t held_tokens() const { return partition.OfMembers().local_tokens(); }
};

}  // namespace annulus::runtime
