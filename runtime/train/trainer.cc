#include "runtime/train/trainer.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>

#include "runtime/train/learning_rate.h"

namespace annulus::runtime {
namespace {

double SecondsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

Trainer::Trainer(const Setup& setup, Program& program, TrainObserver* observer)
    : setup_(setup),
      program_(program),
      observer_(observer),
      loader_(setup.dataset, DatasetLoader::Split::kTrain, setup.environment.context.rank(),
              program.kernels()) {
  size_t index = 0;
  for (const ContextPhase& phase : setup_.config.train.Phases()) {
    remaining_flops_ +=
        static_cast<double>(phase.steps) * setup_.cost.flops_per_step.at(index++).total();
    setup_.dataset.CheckLength(phase.length);
  }
}

int64_t Trainer::HeldOutSequences() const {
  const int64_t available = setup_.dataset.HeldOutSequences(setup_.config.train.sequence_length);
  const int64_t wanted = setup_.config.train.eval_sequences;
  return wanted > 0 ? std::min(wanted, available) : available;
}

int64_t Trainer::AttentionFlops() const {
  return program_.kernels().counters()[kernels::KernelClass::kAttention].flops;
}

EvaluationReport Trainer::Evaluate(int64_t step) {
  const int64_t sequences = HeldOutSequences();
  if (sequences == 0) return {};
  EvaluationReport report = EvaluateHeldOut(program_, setup_.dataset, setup_.environment,
                                            setup_.config.train.sequence_length, sequences);
  if (observer_ != nullptr) observer_->OnEvaluation(step, report);
  return report;
}

void Trainer::RunStep(int64_t step, const Phase& phase) {
  const RankEnvironment& environment = setup_.environment;
  const double exposed_before = program_.traffic().wait_ms;
  const int64_t attention_before = AttentionFlops();
  const auto start = std::chrono::steady_clock::now();
  const StepResult result =
      program_.Step(step, phase.length, next_sequence_,
                    [&](const SequenceRange& range, SequenceShape& shape, View tokens,
                        View labels) { return loader_.Load(range, shape, tokens, labels); });
  const double seconds = SecondsSince(start);
  const double exposed_here = program_.traffic().wait_ms - exposed_before;
  if (!std::isfinite(result.loss) || !std::isfinite(result.grad_norm)) {
    ThrowConfigError(
        "the loss of step {} is {} and its gradient norm {}: the run has diverged; lower "
        "optimizer.learning_rate or lengthen optimizer.warmup_steps",
        step + 1, result.loss, result.grad_norm);
  }
  std::array<double, 1> exposed{exposed_here};
  environment.world.AllReduceMax(exposed);
  // Counted, not planned: how many pairs documents allow is known only once they are there.
  std::array<double, 1> attention{kModelShareOfAttention *
                                  static_cast<double>(AttentionFlops() - attention_before)};
  environment.world.AllReduceSum(attention);

  const TrainOptions& train = setup_.config.train;
  const ModelFlops& planned = setup_.cost.flops_per_step.at(phase.index);
  const double flops = planned.matmul + attention[0];
  next_sequence_ += train.GlobalBatch(phase.length);
  remaining_flops_ -= planned.total();
  done_flops_ += planned.total();
  report_.final_loss = result.loss;
  report_.tokens += train.tokens_per_step();
  report_.train_s += seconds;
  // Machines are shared: a step may outrun the roof that was measured before it.
  setup_.cost.roof_flops_per_s = std::max(setup_.cost.roof_flops_per_s, flops / seconds);
  if (observer_ == nullptr) return;
  observer_->OnStep({.step = step + 1,
                     .total_steps = train.steps,
                     .length = phase.length,
                     .loss = result.loss,
                     .grad_norm = result.grad_norm,
                     .learning_rate = LearningRateAt(step, train.steps, setup_.config.optimizer),
                     .tokens = train.tokens_per_step(),
                     .step_ms = seconds * 1e3,
                     .tokens_per_s = static_cast<double>(train.tokens_per_step()) / seconds,
                     .mfu = flops / seconds / setup_.cost.roof_flops_per_s,
                     .comm_exposed_ms = exposed[0],
                     .peak_activation_bytes = setup_.ledger.peak_activation_bytes(),
                     .remaining_s = step + 1 == train.steps ? 0
                                                            : remaining_flops_ * report_.train_s /
                                                                  std::max(done_flops_, 1.0)});
}

TrainReport Trainer::Run() {
  const TrainOptions& train = setup_.config.train;
  int64_t step = 0;
  size_t index = 0;
  for (const ContextPhase& phase : train.Phases()) {
    for (int64_t i = 0; i < phase.steps; ++i) {
      RunStep(step++, {.index = index, .length = phase.length});
      const bool last = step == train.steps;
      if (train.eval_every > 0 && step % train.eval_every == 0 && !last) Evaluate(step);
    }
    ++index;
  }
  report_.held_out = Evaluate(step);
  return report_;
}

}  // namespace annulus::runtime
