// The training loop: steps by the context schedule, evaluations, and reports of both.
#pragma once

#include <cstdint>

#include "runtime/memory/ledger.h"
#include "runtime/train/activity.h"
#include "runtime/train/batch_loader.h"
#include "runtime/train/evaluation.h"
#include "runtime/train/program.h"
#include "runtime/train/trace.h"

namespace annulus::runtime {

// One step, as the step line and metrics.jsonl show it.
struct StepReport {
  int64_t step = 0;  // counted from 1
  int64_t total_steps = 0;
  int64_t length = 0;
  double loss = 0;
  double grad_norm = 0;
  double learning_rate = 0;
  int64_t tokens = 0;  // of this step, all ranks
  double step_ms = 0;
  double tokens_per_s = 0;
  double mfu = 0;                     // model FLOPs ÷ (time × the roof of all ranks)
  double comm_exposed_ms = 0;         // of the rank that waited longest
  Straggler slowest = {};             // of the ranks, by time less waits
  int64_t peak_activation_bytes = 0;  // so far, of the rank that reports
  double remaining_s = 0;
};

class TrainObserver {
 public:
  virtual ~TrainObserver() = default;
  virtual void OnStep(const StepReport& report) = 0;
  virtual void OnEvaluation(int64_t step, const EvaluationReport& report) = 0;
};

struct TrainReport {
  EvaluationReport held_out;  // after the last step; sequences == 0 where nothing is held out
  double final_loss = 0;
  int64_t tokens = 0;
  double train_s = 0;  // of the steps, evaluations apart
  double tokens_per_s() const { return train_s > 0 ? static_cast<double>(tokens) / train_s : 0; }
};

// The share of attention's FLOPs that belongs to the model: of the 4 + 10 per pair that forward and
// backward compute, 2 recompute the scores.
inline constexpr double kModelShareOfAttention = 12.0 / 14.0;

// Model FLOPs of one step over all ranks: what a step without recomputation computes.
struct ModelFlops {
  double matmul = 0;
  double attention = 0;  // the most there can be, where a mask depends on the data

  double total() const { return matmul + attention; }
};

// What the steps' times are compared with.
struct ModelCost {
  std::vector<ModelFlops> flops_per_step;  // for each phase of the context schedule
  // The rate of large matrix products on all ranks at once, FLOP/s.
  double roof_flops_per_s = 0;
};

class Trainer {
 public:
  struct Setup {
    const RunConfig& config;
    const Dataset& dataset;
    const RankEnvironment& environment;
    const Ledger& ledger;
    ModelCost cost;
    // Observes the world, and is told which time is a step's.
    ActivityRecorder& activity;
    // Records steps [first, first + count), counted from 1; null: none.
    TraceRecorder* trace = nullptr;
    int64_t first_traced = 0;
    int64_t traced = 0;
  };
  // `observer` is null on all ranks but the one that reports. All must outlive this.
  Trainer(const Setup& setup, Program& program, TrainObserver* observer);

  // Trains from step 1 to the last. Collective over the world. Throws ConfigError when the loss is
  // no longer finite, on every rank.
  TrainReport Run();

 private:
  struct Phase {
    size_t index;
    int64_t length;
  };
  void RunStep(int64_t step, const Phase& phase);
  // The program's step, timed and, where it is asked for, traced.
  struct TimedStep {
    StepResult result;
    double seconds = 0;
    double exposed_ms = 0;
  };
  TimedStep TakeStep(int64_t step, const Phase& phase);
  void SwitchTrace(int64_t step);
  EvaluationReport Evaluate(int64_t step);
  // FLOPs of this rank's attention so far.
  int64_t AttentionFlops() const;
  int64_t HeldOutSequences() const;

  Setup setup_;
  Program& program_;
  TrainObserver* observer_;
  DatasetLoader loader_;
  int64_t next_sequence_ = 0;
  double remaining_flops_ = 0;
  double done_flops_ = 0;
  TrainReport report_;
};

}  // namespace annulus::runtime
