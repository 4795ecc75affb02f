// What the losses of held-out sequences add up to, over all ranks.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "parallel/communicator.h"
#include "runtime/data/dataset.h"
#include "runtime/train/program.h"

namespace annulus::runtime {

// The mean loss of the targets at positions [from, to), in nats.
struct PositionLoss {
  int64_t from = 0;
  int64_t to = 0;
  int64_t targets = 0;
  double loss = 0;
};

struct EvaluationReport {
  int64_t length = 0;
  int64_t sequences = 0;
  int64_t targets = 0;
  double loss = 0;       // mean over all targets, nats
  double task_loss = 0;  // mean over the targets that the dataset's task makes solvable
  std::vector<PositionLoss> by_position = {};
};

// Sums losses by position: buckets [0,64), [64,128), [128,256) ... up to the length, so that the
// gain from a long context is seen.
class LossSums {
 public:
  LossSums(int64_t length, PositionRange task);

  // The losses and labels [B,T] of sequences whose local tokens sit at `positions`.
  void Add(const kernels::Positions& positions, std::span<const int32_t> labels,
           std::span<const float> losses);

  // Collective over all ranks that added losses. The same report on every rank.
  EvaluationReport Reduce(parallel::Communicator& world, int64_t sequences);

 private:
  size_t BucketOf(int64_t position) const;

  int64_t length_;
  PositionRange task_;
  std::vector<int64_t> bucket_ends_;
  // Loss sums of the buckets, their target counts, then sum and count of the task.
  std::vector<double> sums_;
};

// Evaluates `sequences` held-out sequences of `length`. Collective over the world.
EvaluationReport EvaluateHeldOut(Program& program, const Dataset& dataset,
                                 const RankEnvironment& environment, int64_t length,
                                 int64_t sequences);

}  // namespace annulus::runtime
