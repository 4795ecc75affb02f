#include "runtime/train/evaluation.h"

#include <algorithm>

#include "runtime/train/batch_loader.h"

namespace annulus::runtime {
namespace {

constexpr int64_t kFirstBucketTokens = 64;

}  // namespace

LossSums::LossSums(int64_t length, PositionRange task) : length_(length), task_(task) {
  for (int64_t end = kFirstBucketTokens; end < length; end *= 2) bucket_ends_.push_back(end);
  bucket_ends_.push_back(length);
  sums_.assign(2 * bucket_ends_.size() + 2, 0.0);
}

size_t LossSums::BucketOf(int64_t position) const {
  const auto end = std::upper_bound(bucket_ends_.begin(), bucket_ends_.end(), position);
  return static_cast<size_t>(end - bucket_ends_.begin());
}

void LossSums::Add(const kernels::Positions& positions, std::span<const int32_t> labels,
                   std::span<const float> losses) {
  const size_t buckets = bucket_ends_.size();
  const auto tokens = static_cast<size_t>(positions.tokens());
  for (size_t row = 0; row < labels.size(); ++row) {
    if (labels[row] < 0) continue;
    const int64_t position = positions.at(static_cast<int64_t>(row % tokens));
    const double loss = static_cast<double>(losses[row]);
    const size_t bucket = BucketOf(position);
    sums_[bucket] += loss;
    sums_[buckets + bucket] += 1;
    if (task_.Contains(position)) {
      sums_[2 * buckets] += loss;
      sums_[2 * buckets + 1] += 1;
    }
  }
}

EvaluationReport LossSums::Reduce(parallel::Communicator& world, int64_t sequences) {
  world.AllReduceSum(std::span<double>(sums_));
  const size_t buckets = bucket_ends_.size();
  const auto mean = [](double sum, double count) { return count > 0 ? sum / count : 0.0; };
  EvaluationReport report{.length = length_, .sequences = sequences};
  double loss = 0, targets = 0;
  int64_t from = 0;
  for (size_t b = 0; b < buckets; ++b) {
    const double count = sums_[buckets + b];
    report.by_position.push_back({.from = from,
                                  .to = bucket_ends_[b],
                                  .targets = static_cast<int64_t>(count),
                                  .loss = mean(sums_[b], count)});
    from = bucket_ends_[b];
    loss += sums_[b];
    targets += count;
  }
  report.targets = static_cast<int64_t>(targets);
  report.loss = mean(loss, targets);
  report.task_loss = mean(sums_[2 * buckets], sums_[2 * buckets + 1]);
  return report;
}

EvaluationReport EvaluateHeldOut(Program& program, const Dataset& dataset,
                                 const RankEnvironment& environment, int64_t length,
                                 int64_t sequences) {
  const int context_rank = environment.context.rank();
  DatasetLoader loader(dataset, DatasetLoader::Split::kHeldOut, context_rank, program.kernels());
  LossSums sums(length, dataset.TaskPositions(length));
  std::vector<float> losses;
  std::vector<int32_t> labels;
  program.Evaluate(
      length, sequences,
      [&](const SequenceRange& range, SequenceShape& shape, View tokens_out, View labels_out) {
        return loader.Load(range, shape, tokens_out, labels_out);
      },
      [&](const SequenceRange&, const SequenceShape& shape, ConstView label_view,
          ConstView loss_view) {
        losses.resize(static_cast<size_t>(shape.rows()));
        labels.resize(losses.size());
        program.kernels().CopyToHost(loss_view, losses.data());
        program.kernels().CopyToHost(label_view, labels.data());
        sums.Add(shape.partition.PositionsOf(context_rank), labels, losses);
      });
  return sums.Reduce(environment.world, sequences);
}

}  // namespace annulus::runtime
