// Brings this rank's tokens of the asked-for sequences from a dataset to the device.
#pragma once

#include <vector>

#include "runtime/data/dataset.h"
#include "runtime/train/program.h"

namespace annulus::runtime {

class DatasetLoader {
 public:
  enum class Split { kTrain, kHeldOut };

  // All must outlive this. `context_rank` is the place in the group that shares a sequence.
  DatasetLoader(const Dataset& dataset, Split split, int context_rank, kernels::Kernels& kernels)
      : dataset_(dataset), split_(split), context_rank_(context_rank), kernels_(kernels) {}

  // The contract of BatchLoader.
  int64_t Load(const SequenceRange& sequences, SequenceShape& shape, View tokens, View labels);

 private:
  void LoadDocuments(const SequenceRange& sequences, SequenceShape& shape);

  const Dataset& dataset_;
  Split split_;
  int context_rank_;
  kernels::Kernels& kernels_;
  // Host staging, 8 bytes a token: grown by the first batch of the longest phase, then reused.
  std::vector<int32_t> tokens_;
  std::vector<int32_t> labels_;
  // Where documents start: room for the most there can be, made by the first batch of each length.
  std::vector<int64_t> starts_;
  int64_t most_documents_ = 0;  // of a sequence of documents_length_ tokens
  int64_t documents_length_ = 0;
};

}  // namespace annulus::runtime
