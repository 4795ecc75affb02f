#include "runtime/model/decoder.h"

#include "parallel/watch.h"

namespace annulus::runtime {

using kernels::DType;
using kernels::MemoryCategory;
using kernels::MemoryScope;
using parallel::PhaseWatch;

Decoder::Decoder(const Options& options, const StepContext& context, DecoderTensors weight,
                 DecoderTensors gradient)
    : options_(options),
      context_(context),
      weight_(std::move(weight)),
      gradient_(std::move(gradient)) {}

RopeTables Decoder::MakeRopeTables(const SequenceShape& sequence) const {
  const auto allocate = [&] {
    return context_.memory.Allocate(DType::kF32, {sequence.tokens(), options_.shape.head_dim / 2},
                                    MemoryCategory::kBatch, "rotary tables");
  };
  RopeTables rope{.cosine = allocate(), .sine = allocate()};
  context_.kernels.RopeTable(
      {.positions = sequence.partition.PositionsOf(context_.context.all().rank()),
       .theta = options_.shape.rope_theta,
       .cosine = rope.cosine,
       .sine = rope.sine});
  return rope;
}

View Decoder::Embed(const SequenceShape& sequence, ConstView tokens) const {
  const View x =
      context_.memory.Allocate(options_.shape.dtype, {sequence.rows(), options_.shape.hidden_size},
                               MemoryCategory::kActivations, "residual stream");
  context_.kernels.Embedding({.table = weight_.embed_tokens, .tokens = tokens, .out = x});
  return x;
}

LossHead Decoder::Head() const {
  const int64_t chunk = options_.loss_chunk_tokens;
  return {.shape = options_.shape,
          .context = context_,
          .chunk_tokens = chunk > 0 ? chunk : DefaultLossChunkTokens(options_.shape.vocab_size)};
}

void Decoder::ForwardBackward(const SequenceShape& sequence, const MicroBatch& batch) const {
  kernels::StackMemory& memory = context_.memory;
  const DecoderShape& shape = options_.shape;
  const size_t layers = weight_.layers.size();
  MemoryScope scope(memory);
  const RopeTables rope = MakeRopeTables(sequence);
  parallel::ContextAttention attention({context_.kernels, memory, context_.context,
                                        sequence.partition, sequence.masks, options_.schedule},
                                       AttentionOf(shape, sequence.batch));
  const DecoderLayer::Environment environment{shape, sequence, context_, rope, attention};

  // Lives through the whole pass, below what forward pushes and backward pops.
  const View dx = memory.Allocate(shape.dtype, {sequence.rows(), shape.hidden_size},
                                  MemoryCategory::kActivations, "residual stream gradient");
  const View embedded = Embed(sequence, batch.tokens);

  std::vector<LayerActivations> kept(layers);
  std::vector<kernels::StackMemory::Mark> below(layers);
  ConstView x = embedded;
  for (size_t l = 0; l < layers; ++l) {
    const PhaseWatch watch(context_.world, "forward layer", static_cast<int64_t>(l));
    below[l] = memory.Top();
    AllocateKept(shape, sequence, options_.recompute, memory, kept[l]);
    MemoryScope transient(memory);
    LayerActivations all = kept[l];
    AllocateTransient(shape, sequence, options_.recompute, memory, all);
    DecoderLayer(environment, weight_.layers[l], &gradient_.layers[l]).Forward(x, all);
    x = kept[l].output;
  }

  {
    const PhaseWatch watch(context_.world, "loss");
    Head().ForwardBackward(weight_, gradient_, x, batch.labels, batch.loss, dx);
  }

  for (size_t l = layers; l-- > 0;) {
    const PhaseWatch watch(context_.world, "backward layer", static_cast<int64_t>(l));
    x = l == 0 ? ConstView(embedded) : ConstView(kept[l - 1].output);
    LayerActivations all = kept[l];
    AllocateTransient(shape, sequence, options_.recompute, memory, all);
    DecoderLayer layer(environment, weight_.layers[l], &gradient_.layers[l]);
    layer.Recompute(x, options_.recompute, all);
    layer.Backward(x, all, dx);
    memory.Release(below[l]);
  }
  context_.kernels.EmbeddingBackward(
      {.dout = dx, .tokens = batch.tokens, .dtable = gradient_.embed_tokens});
}

void Decoder::Forward(const SequenceShape& sequence, const MicroBatch& batch) const {
  kernels::StackMemory& memory = context_.memory;
  const DecoderShape& shape = options_.shape;
  MemoryScope scope(memory);
  const RopeTables rope = MakeRopeTables(sequence);
  parallel::ContextAttention attention({context_.kernels, memory, context_.context,
                                        sequence.partition, sequence.masks, options_.schedule},
                                       AttentionOf(shape, sequence.batch));
  const DecoderLayer::Environment environment{shape, sequence, context_, rope, attention};

  // Every layer reads the residual stream and leaves it in place.
  const View x = Embed(sequence, batch.tokens);
  for (const LayerTensors& weight : weight_.layers) {
    MemoryScope transient(memory);
    LayerActivations a;
    AllocateKept(shape, sequence, Recompute::kNone, memory, a);
    DecoderLayer(environment, weight, nullptr).Forward(x, a);
    context_.kernels.Copy(a.output, x);
  }
  Head().Forward(weight_, x, batch.labels, batch.loss);
}

}  // namespace annulus::runtime
