// A tiny training program on ranks as threads, for tests that compare runs.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "kernels/cpu/cpu_table.h"
#include "parallel/local_communicator.h"
#include "parallel/process_grid.h"
#include "runtime/data/dataset.h"
#include "runtime/memory/arena.h"
#include "runtime/model/decoder_shape.h"
#include "runtime/train/batch_loader.h"
#include "runtime/train/plan.h"

namespace annulus::runtime {

struct TinyRun {
  RunConfig config;
  DecoderShape shape;
  int ranks = 1;
  int threads = 1;
  std::shared_ptr<const Dataset> data = nullptr;  // null: the recall task
};

inline TinyRun MakeTinyRun(int64_t length, int64_t batch) {
  TinyRun run;
  run.shape = {.hidden_size = 24,
               .num_hidden_layers = 2,
               .num_attention_heads = 4,
               .num_key_value_heads = 2,
               .head_dim = 6,
               .intermediate_size = 20,
               .vocab_size = 23,
               .initializer_range = 0.2f,
               .embedding_initializer_range = 0.5f};
  run.config.train.sequence_length = length;
  run.config.train.global_batch_size = batch;
  run.config.train.micro_batch_size = 1;
  run.config.train.steps = 50;
  run.config.parallel.context_size = 0;
  run.config.parallel.ulysses_size = 1;
  return run;
}

inline std::shared_ptr<const Dataset> TinyData(const TinyRun& run) {
  if (run.data != nullptr) return run.data;
  return OpenDataset({.path = "",
                      .synthetic = "recall",
                      .held_out_fraction = 0.1,
                      .vocab_size = run.shape.vocab_size,
                      .seed = 5});
}

// Runs `body(program, loader, environment, plan)` on every rank, in an arena of the planned size.
template <class Body>
void OnEveryRank(const TinyRun& run, const Body& body) {
  const std::shared_ptr<const Dataset> data = TinyData(run);
  parallel::RunRanks(run.ranks, [&](parallel::Communicator& world) {
    parallel::ProcessGrid grid(world, run.config.parallel.context_size);
    kernels::CpuTable table(run.threads);
    const RankPlan plan = PlanRank(run.config, run.shape, table,
                                   {.context_rank = grid.context().rank(),
                                    .context_size = grid.context().size(),
                                    .data_index = grid.data().rank(),
                                    .data_size = grid.data().size()});
    Arena arena(plan.ledger.peak_bytes());
    const RankEnvironment environment{.table = table,
                                      .memory = arena,
                                      .world = world,
                                      .context = grid.context(),
                                      .data_index = grid.data().rank(),
                                      .data_size = grid.data().size()};
    Program program(run.config, run.shape, environment);
    program.Initialize();
    DatasetLoader loader(*data, DatasetLoader::Split::kTrain, grid.context().rank(),
                         program.kernels());
    const BatchLoader load = [&](const SequenceRange& range, SequenceShape& shape, View tokens,
                                 View labels) { return loader.Load(range, shape, tokens, labels); };
    body(program, load, arena, plan);
  });
}

struct GradientResult {
  StepResult step;
  std::vector<float> gradients;
};

inline GradientResult GradientsOf(const TinyRun& run) {
  GradientResult result;
  std::mutex mutex;
  OnEveryRank(run, [&](Program& program, const BatchLoader& load, Arena&, const RankPlan&) {
    const StepResult step = program.Gradients(run.config.train.sequence_length, 0, load);
    const std::lock_guard lock(mutex);
    const auto* values = program.gradients().As<float>();
    std::vector<float> gradients(values, values + program.gradients().size());
    if (!result.gradients.empty()) {
      Check(gradients == result.gradients, "ranks disagree on the summed gradients");
    }
    result = {step, std::move(gradients)};
  });
  return result;
}

inline std::vector<double> LossesOf(const TinyRun& run, int64_t steps) {
  std::vector<double> losses;
  std::mutex mutex;
  OnEveryRank(run, [&](Program& program, const BatchLoader& load, Arena&, const RankPlan&) {
    std::vector<double> mine;
    const int64_t batch = run.config.train.global_batch_size;
    for (int64_t s = 0; s < steps; ++s) {
      mine.push_back(program.Step(s, run.config.train.sequence_length, s * batch, load).loss);
    }
    const std::lock_guard lock(mutex);
    losses = std::move(mine);
  });
  return losses;
}

}  // namespace annulus::runtime
