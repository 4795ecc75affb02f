#include "runtime/train/batch_loader.h"

#include <algorithm>

namespace annulus::runtime {

int64_t DatasetLoader::Load(const SequenceRange& sequences, const SequenceShape& shape, View tokens,
                            View labels) {
  const auto rows = static_cast<size_t>(shape.rows());
  tokens_.resize(rows);
  labels_.resize(rows);
  const kernels::Positions positions = shape.partition.PositionsOf(context_rank_);
  const int64_t length = shape.partition.length();
  for (int64_t b = 0; b < sequences.count; ++b) {
    int32_t* const tokens_of = tokens_.data() + b * shape.tokens();
    int32_t* const labels_of = labels_.data() + b * shape.tokens();
    if (split_ == Split::kTrain) {
      dataset_.TrainSequence(sequences.first + b, length, positions, tokens_of, labels_of);
    } else {
      dataset_.HeldOutSequence(sequences.first + b, length, positions, tokens_of, labels_of);
    }
  }
  kernels_.CopyFromHost(tokens_.data(), tokens);
  kernels_.CopyFromHost(labels_.data(), labels);
  return std::count_if(labels_.begin(), labels_.end(), [](int32_t label) { return label >= 0; });
}

}  // namespace annulus::runtime
