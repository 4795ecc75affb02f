// A Llama-style decoder over a sequence shared by the ranks of a context group.
#pragma once

#include "runtime/config/run_config.h"
#include "runtime/model/decoder_layer.h"
#include "runtime/model/loss_head.h"
#include "runtime/model/parameters.h"
#include "runtime/model/step_context.h"

namespace annulus::runtime {

// The local tokens of B sequences: tokens, labels [N] i32 in the order of SequenceShape's
// partition, sequence by sequence; a negative label is no target. loss [N] f32 is written.
struct MicroBatch {
  ConstView tokens;
  ConstView labels;
  View loss;
};

class Decoder {
 public:
  // All references must outlive this.
  struct Options {
    const DecoderShape& shape;
    Recompute recompute = Recompute::kNone;
    int64_t loss_chunk_tokens = 0;  // 0: DefaultLossChunkTokens
    parallel::ScheduleSpec schedule = {};
  };
  // `weight` is of shape.dtype, `gradient` f32.
  Decoder(const Options& options, const StepContext& context, DecoderTensors weight,
          DecoderTensors gradient);

  // Accumulates the gradient of the *sum* of this rank's losses over all parameters: the caller
  // divides by the global count of targets, so that no result depends on the number of ranks.
  // Collective over the context group. Memory is popped before it returns.
  void ForwardBackward(const SequenceShape& sequence, const MicroBatch& batch) const;

  // Losses only; keeps no activations.
  void Forward(const SequenceShape& sequence, const MicroBatch& batch) const;

 private:
  RopeTables MakeRopeTables(const SequenceShape& sequence) const;
  View Embed(const SequenceShape& sequence, ConstView tokens) const;
  LossHead Head() const;

  const Options options_;
  const StepContext& context_;
  DecoderTensors weight_;
  DecoderTensors gradient_;
};

}  // namespace annulus::runtime
