#include "runtime/train/batch_loader.h"

#include <algorithm>

namespace annulus::runtime {

void DatasetLoader::LoadDocuments(const SequenceRange& sequences, SequenceShape& shape) {
  const int64_t length = shape.partition.length();
  if (length != documents_length_) {
    documents_length_ = length;
    most_documents_ = dataset_.MostDocuments(length);
  }
  const auto room = static_cast<size_t>(sequences.count * most_documents_);
  if (starts_.size() < room) starts_.resize(room);
  for (int64_t b = 0; b < sequences.count; ++b) {
    int64_t* const starts = starts_.data() + b * most_documents_;
    const int64_t index = sequences.first + b;
    const int64_t documents = split_ == Split::kTrain
                                  ? dataset_.TrainDocuments(index, length, starts)
                                  : dataset_.HeldOutDocuments(index, length, starts);
    Check(documents >= 1 && documents <= most_documents_, "{} documents in {} tokens", documents,
          length);
    shape.masks.at(static_cast<size_t>(b)).document_starts = {starts,
                                                              static_cast<size_t>(documents)};
  }
}

int64_t DatasetLoader::Load(const SequenceRange& sequences, SequenceShape& shape, View tokens,
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
  if (shape.masks.front().kind == kernels::MaskKind::kDocuments) LoadDocuments(sequences, shape);
  kernels_.CopyFromHost(tokens_.data(), tokens);
  kernels_.CopyFromHost(labels_.data(), labels);
  return std::count_if(labels_.begin(), labels_.end(), [](int32_t label) { return label >= 0; });
}

}  // namespace annulus::runtime
