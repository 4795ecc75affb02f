// The training program of one rank: its persistent memory, the training step and the evaluation.
//
// The program is the same whether it runs against real tables or dry ones: the plan is this class
// run dry (plan.h), so what it predicts is what a run measures.
#pragma once

#include <functional>

#include "kernels/base/kernels.h"
#include "runtime/config/run_config.h"
#include "runtime/model/decoder.h"

namespace annulus::runtime {

// Where one rank stands and what it runs on.
struct RankEnvironment {
  kernels::KernelTable& table;
  kernels::StackMemory& memory;
  parallel::Communicator& world;
  parallel::Communicator& context;
  int data_index = 0;
  int data_size = 1;
};

// The sequences of one micro-batch: `count` of them from index `first` on.
struct SequenceRange {
  int64_t first = 0;
  int64_t count = 0;
};

// Fills tokens and labels [N] i32 with this rank's part of the sequences, and says how many of the
// labels are targets. Where documents are masked, shape.masks has one mask for each sequence: tells
// it where the documents of the whole sequence start, in memory that lasts until the next call; the
// same on every rank of the context group. Left alone, each sequence is one document.
using BatchLoader = std::function<int64_t(const SequenceRange& sequences, SequenceShape& shape,
                                          View tokens, View labels)>;

struct StepResult {
  double loss = 0;       // mean over the step's targets, all ranks
  double grad_norm = 0;  // of the mean loss, before clipping
  int64_t targets = 0;   // tokens with a label, all ranks
};

class Program {
 public:
  // Pushes parameters, gradients and the optimizer's state on environment.memory. All must outlive
  // this. Collective over environment.context. Requires parallel.ulysses_size to be resolved.
  Program(const RunConfig& config, const DecoderShape& shape, const RankEnvironment& environment);

  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  // Parameters from the seed, the same on every rank; moments zero.
  void Initialize();

  // One optimizer step on the GlobalBatch(length) sequences from `first_sequence` on.
  // `step` counts from 0. Collective over the world.
  StepResult Step(int64_t step, int64_t length, int64_t first_sequence, const BatchLoader& load);

  // The step's gradients without the update: mean over targets, in gradients(). For parity checks.
  StepResult Gradients(int64_t length, int64_t first_sequence, const BatchLoader& load);

  // Called with the losses [N] of one micro-batch after its forward pass.
  using LossReader = std::function<void(const SequenceRange& sequences, const SequenceShape& shape,
                                        ConstView labels, ConstView losses)>;
  // Forward passes over this rank's share of `sequences` sequences. Collective over the context
  // group only: data-parallel groups may do different numbers of batches.
  void Evaluate(int64_t length, int64_t sequences, const BatchLoader& load,
                const LossReader& read) const;

  const ParameterLayout& layout() const { return layout_; }
  // What the model computes with, of the shape's dtype.
  View parameters() const { return parameters_; }
  View gradients() const { return gradients_; }
  // What this rank sent so far, and how long it waited, in all groups.
  const parallel::CommCounters& traffic() const { return environment_.world.all_counters(); }
  kernels::Kernels& kernels() { return kernels_; }
  const kernels::Kernels& kernels() const { return kernels_; }

 private:
  struct Sums {
    double loss = 0;
    double targets = 0;
  };
  SequenceShape ShapeOf(int64_t length, int64_t batch) const;
  // Fills gradients_ with the gradient of the loss *sum* over all ranks.
  Sums AccumulateGradients(int64_t length, int64_t first_sequence, const BatchLoader& load);
  void Update(int64_t step, float gradient_scale);
  View AllocateFlat(kernels::DType dtype, kernels::MemoryCategory category, std::string_view owner);
  bool has_master() const { return parameters_.dtype != kernels::DType::kF32; }
  // Rounds the master weights to the working parameters; where these are one there is nothing to
  // do.
  void RoundMaster();

  const RunConfig& config_;
  RankEnvironment environment_;
  parallel::ContextGroup group_;
  mutable kernels::Kernels kernels_;
  const DecoderShape& shape_;
  StepContext context_;
  ParameterLayout layout_;
  View parameters_;
  View master_;  // f32; parameters_ itself where the model is f32
  View gradients_;
  View first_moment_;
  View second_moment_;
  Decoder decoder_;
};

}  // namespace annulus::runtime
