#include "runtime/train/trainer.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>

#include "parallel/watch.h"
#include "runtime/train/learning_rate.h"

namespace annulus::runtime {
namespace {

double SecondsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// What one rank says of a step. FLOPs are counted, not planned: how many pairs documents allow is
// known only once they are there.
struct RankOfStep {
  double busy_ms = 0;
  double exposed_ms = 0;
  double attention_flops = 0;
};

struct RanksOfStep {
  Straggler slowest;
  double longest_exposed_ms = 0;
  double attention_flops = 0;  // of all
};

RanksOfStep GatherRanks(parallel::Communicator& world, const RankOfStep& here) {
  const std::array<double, 3> own = {here.busy_ms, here.exposed_ms, here.attention_flops};
  const std::vector<double> all = world.AllGather(own);
  RanksOfStep ranks;
  std::vector<double> busy;
  for (size_t i = 0; i < all.size(); i += own.size()) {
    busy.push_back(all[i]);
    ranks.longest_exposed_ms = std::max(ranks.longest_exposed_ms, all[i + 1]);
    ranks.attention_flops += all[i + 2];
  }
  ranks.slowest = FindStraggler(busy);
  return ranks;
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

// `step` counts from 0.
void Trainer::SwitchTrace(int64_t step) {
  TraceRecorder* trace = setup_.trace;
  if (trace == nullptr) return;
  const int64_t first = setup_.first_traced - 1;
  if (step == first) trace->Start(SharedOrigin(setup_.environment.world));
  if (step == first + setup_.traced) trace->Stop();
}

Trainer::TimedStep Trainer::TakeStep(int64_t step, const Phase& phase) {
  parallel::Communicator& world = setup_.environment.world;
  SwitchTrace(step);
  const parallel::CommCounters before = world.all_counters();
  setup_.activity.BeginStep();
  const parallel::PhaseWatch watch(world, "training step", step + 1);
  const auto start = std::chrono::steady_clock::now();
  TimedStep taken;
  taken.result =
      program_.Step(step, phase.length, next_sequence_,
                    [&](const SequenceRange& range, SequenceShape& shape, View tokens,
                        View labels) { return loader_.Load(range, shape, tokens, labels); });
  taken.seconds = SecondsSince(start);
  const parallel::CommCounters& after = world.all_counters();
  taken.exposed_ms = after.wait_ms - before.wait_ms;
  setup_.activity.EndStep({.busy_ms = taken.seconds * 1e3 - taken.exposed_ms,
                           .exposed_ms = taken.exposed_ms,
                           .bytes_sent = after.bytes_sent - before.bytes_sent});
  return taken;
}

void Trainer::RunStep(int64_t step, const Phase& phase) {
  const int64_t attention_before = AttentionFlops();
  const TimedStep taken = TakeStep(step, phase);
  const StepResult& result = taken.result;
  const double seconds = taken.seconds;
  if (!std::isfinite(result.loss) || !std::isfinite(result.grad_norm)) {
    ThrowConfigError(
        "the loss of step {} is {} and its gradient norm {}: the run has diverged; lower "
        "optimizer.learning_rate or lengthen optimizer.warmup_steps",
        step + 1, result.loss, result.grad_norm);
  }
  const RanksOfStep ranks =
      GatherRanks(setup_.environment.world,
                  {.busy_ms = seconds * 1e3 - taken.exposed_ms,
                   .exposed_ms = taken.exposed_ms,
                   .attention_flops = kModelShareOfAttention *
                                      static_cast<double>(AttentionFlops() - attention_before)});

  const TrainOptions& train = setup_.config.train;
  const ModelFlops& planned = setup_.cost.flops_per_step.at(phase.index);
  const double flops = planned.matmul + ranks.attention_flops;
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
                     .comm_exposed_ms = ranks.longest_exposed_ms,
                     .slowest = ranks.slowest,
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
