#include "runtime/train/program.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "runtime/config/attention_mask.h"
#include "runtime/config/strategy.h"
#include "runtime/train/learning_rate.h"

namespace annulus::runtime {
namespace {

using kernels::DType;
using kernels::MemoryCategory;
using kernels::MemoryScope;

struct BatchTensors {
  View tokens;
  View labels;
  View loss;
};

BatchTensors AllocateBatch(kernels::StackMemory& memory, const SequenceShape& sequence) {
  const auto allocate = [&](DType dtype, const char* owner) {
    return memory.Allocate(dtype, {sequence.rows()}, MemoryCategory::kBatch, owner);
  };
  return {.tokens = allocate(DType::kI32, "tokens"),
          .labels = allocate(DType::kI32, "labels"),
          .loss = allocate(DType::kF32, "losses")};
}

}  // namespace

Program::Program(const RunConfig& config, const DecoderShape& shape,
                 const RankEnvironment& environment)
    : config_(config),
      environment_(environment),
      group_(environment.context, config.parallel.ulysses_size),
      kernels_(environment.table, environment.memory),
      shape_(shape),
      context_{kernels_, environment.memory, environment.world, group_},
      layout_(shape),
      parameters_(AllocateFlat(shape.dtype, MemoryCategory::kParameters, "parameters")),
      master_(has_master() ? AllocateFlat(DType::kF32, MemoryCategory::kOptimizer, "master weights")
                           : parameters_),
      gradients_(AllocateFlat(DType::kF32, MemoryCategory::kGradients, "gradients")),
      first_moment_(AllocateFlat(DType::kF32, MemoryCategory::kOptimizer, "AdamW moments")),
      second_moment_(AllocateFlat(DType::kF32, MemoryCategory::kOptimizer, "AdamW moments")),
      decoder_({.shape = shape,
                .recompute = config.memory.recompute,
                .loss_chunk_tokens = config.memory.loss_chunk_tokens,
                .schedule = ScheduleOf(config.parallel)},
               context_, layout_.Bind(parameters_), layout_.Bind(gradients_)) {}

View Program::AllocateFlat(DType dtype, MemoryCategory category, std::string_view owner) {
  return environment_.memory.Allocate(dtype, {layout_.elements()}, category, owner);
}

void Program::RoundMaster() {
  if (has_master()) kernels_.Convert({.from = master_, .to = parameters_});
}

void Program::Initialize() {
  // The gaps between parameters must be zero as well: norms and updates run over them.
  for (const View& view : {master_, gradients_, first_moment_, second_moment_}) {
    kernels_.Zero(view);
  }
  for (const ParameterSpec& spec : layout_.specs()) {
    const View parameter = ParameterLayout::Slice(spec, master_);
    std::array<float, 4096> block;
    for (int64_t first = 0; first < spec.size; first += std::ssize(block)) {
      const int64_t count = std::min(std::ssize(block), spec.size - first);
      FillInitialValues(spec, config_.train.seed, first,
                        {block.data(), static_cast<size_t>(count)});
      kernels_.CopyFromHost(block.data(), parameter.Slice(0, first, count));
    }
  }
  // Machines of different kinds may round a logarithm differently: rank 0's values count.
  environment_.world.Broadcast(master_, 0).Wait();
  RoundMaster();
}

SequenceShape Program::ShapeOf(int64_t length, int64_t batch) const {
  const kernels::Mask mask = MaskOf(config_.attention, length);
  const bool own_masks = mask.kind == kernels::MaskKind::kDocuments;
  return {.batch = batch,
          .partition = PartitionOf(config_.parallel, length, group_.all().size()),
          .masks = std::vector<kernels::Mask>(own_masks ? static_cast<size_t>(batch) : 1, mask),
          .held = parallel::HeldBy(group_, AttentionOf(shape_, batch))};
}

Program::Sums Program::AccumulateGradients(int64_t length, int64_t first_sequence,
                                           const BatchLoader& load) {
  const int64_t batch = config_.train.MicroBatch(length);
  const int64_t stride = batch * environment_.data_size;
  const int64_t micro_steps = config_.train.GlobalBatch(length) / stride;
  SequenceShape sequence = ShapeOf(length, batch);
  Sums sums;
  kernels_.Zero(gradients_);
  for (int64_t micro = 0; micro < micro_steps; ++micro) {
    MemoryScope scope(environment_.memory);
    const BatchTensors tensors = AllocateBatch(environment_.memory, sequence);
    const SequenceRange range{first_sequence + micro * stride + environment_.data_index * batch,
                              batch};
    const int64_t targets = load(range, sequence, tensors.tokens, tensors.labels);
    decoder_.ForwardBackward(
        sequence, {.tokens = tensors.tokens, .labels = tensors.labels, .loss = tensors.loss});
    sums.loss += kernels_.Sum(tensors.loss);
    sums.targets += static_cast<double>(targets);
  }
  environment_.world.AllReduceSum(gradients_).Wait();
  std::array<double, 2> totals{sums.loss, sums.targets};
  environment_.world.AllReduceSum(totals);
  return {totals[0], totals[1]};
}

StepResult Program::Step(int64_t step, int64_t length, int64_t first_sequence,
                         const BatchLoader& load) {
  const Sums sums = AccumulateGradients(length, first_sequence, load);
  const double targets = std::max(sums.targets, 1.0);
  const double norm = std::sqrt(kernels_.SumOfSquares(gradients_)) / targets;
  const double clip = config_.optimizer.clip_norm;
  const double clip_scale = clip > 0 && norm > clip ? clip / norm : 1.0;
  Update(step, static_cast<float>(clip_scale / targets));
  return {.loss = sums.loss / targets,
          .grad_norm = norm,
          .targets = static_cast<int64_t>(sums.targets)};
}

StepResult Program::Gradients(int64_t length, int64_t first_sequence, const BatchLoader& load) {
  const Sums sums = AccumulateGradients(length, first_sequence, load);
  const double targets = std::max(sums.targets, 1.0);
  return {.loss = sums.loss / targets,
          .grad_norm = std::sqrt(kernels_.SumOfSquares(gradients_)) / targets,
          .targets = static_cast<int64_t>(sums.targets)};
}

void Program::Update(int64_t step, float gradient_scale) {
  const OptimizerOptions& o = config_.optimizer;
  const double rate = LearningRateAt(step, config_.train.steps, o);
  const int64_t decayed = layout_.decayed_elements();
  const auto update = [&](int64_t begin, int64_t count, double weight_decay) {
    kernels_.AdamW({.parameter = master_.Slice(0, begin, count),
                    .gradient = gradients_.Slice(0, begin, count),
                    .first_moment = first_moment_.Slice(0, begin, count),
                    .second_moment = second_moment_.Slice(0, begin, count),
                    .working = has_master() ? parameters_.Slice(0, begin, count) : View(),
                    .step = step + 1,
                    .learning_rate = static_cast<float>(rate),
                    .beta1 = static_cast<float>(o.beta1),
                    .beta2 = static_cast<float>(o.beta2),
                    .eps = static_cast<float>(o.eps),
                    .weight_decay = static_cast<float>(weight_decay),
                    .gradient_scale = gradient_scale});
  };
  update(0, decayed, o.weight_decay);
  update(decayed, layout_.elements() - decayed, 0);
}

void Program::Evaluate(int64_t length, int64_t sequences, const BatchLoader& load,
                       const LossReader& read) const {
  const int64_t batch = config_.train.MicroBatch(length);
  const int64_t stride = batch * environment_.data_size;
  for (int64_t first = environment_.data_index * batch; first < sequences; first += stride) {
    const SequenceRange range{first, std::min(batch, sequences - first)};
    SequenceShape sequence = ShapeOf(length, range.count);
    MemoryScope scope(environment_.memory);
    const BatchTensors tensors = AllocateBatch(environment_.memory, sequence);
    load(range, sequence, tensors.tokens, tensors.labels);
    decoder_.Forward(sequence,
                     {.tokens = tensors.tokens, .labels = tensors.labels, .loss = tensors.loss});
    read(range, sequence, tensors.labels, tensors.loss);
  }
}

}  // namespace annulus::runtime
