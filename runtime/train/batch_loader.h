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
  int64_t Load(const SequenceRange& sequences, const SequenceShape& shape, View tokens,
               View labels);

 private:
  const Dataset& dataset_;
  Split split_;
  int context_rank_;
  kernels::Kernels& kernels_;
  // Host staging, 8 bytes a token: grown by the first batch of the longest phase, then reused.
  std::vector<int32_t> tokens_;
  std::vector<int32_t> labels_;
};

}  // namespace annulus::runtime
