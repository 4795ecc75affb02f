// Where training and held-out sequences come from.
//
// A sequence is a pure function of (seed, index, length), the same on every rank, and a rank asks
// only for its own tokens of it. Labels are shifted here, globally, before any sharding: the label
// of position i is the token at i + 1 of the same source, whichever rank holds that. So no loss
// depends on how a sequence is sharded. Where documents are separate, no label lies in another
// document than its token: nothing that the model may look at could predict it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "kernels/base/positions.h"

namespace annulus::runtime {

// Positions first, first + 1, ..., last - 1 of a sequence.
struct PositionRange {
  int64_t first = 0;
  int64_t last = 0;

  bool Contains(int64_t position) const { return position >= first && position < last; }
};

// Const members may be called from several threads at once.
//
// Where the members below fill `tokens` and `labels`, both are [positions.tokens()] i32 and are
// overwritten: entry t belongs to position positions.at(t). Positions at or past `length` are
// padding: token 0, label -1. A position without a next token has label -1 too.
class Dataset {
 public:
  virtual ~Dataset() = default;

  // The smallest vocabulary that holds its tokens: 0 <= token < vocab_size().
  virtual int64_t vocab_size() const = 0;

  // Throws ConfigError, with numbers, unless there are training sequences of `length` tokens, and
  // held-out ones if any were asked for. Ask before training starts.
  virtual void CheckLength(int64_t length) const = 0;

  // Training sequence `index`, counted over the whole run. Requires index >= 0. Throws as
  // CheckLength.
  virtual void TrainSequence(int64_t index, int64_t length, const kernels::Positions& positions,
                             int32_t* tokens, int32_t* labels) const = 0;

  // How many held-out sequences of `length` there are: 0 if none were asked for. Throws as
  // CheckLength.
  virtual int64_t HeldOutSequences(int64_t length) const = 0;

  // Requires 0 <= index < HeldOutSequences(length).
  virtual void HeldOutSequence(int64_t index, int64_t length, const kernels::Positions& positions,
                               int32_t* tokens, int32_t* labels) const = 0;

  // The most documents that lie in one sequence of `length` tokens, whole or in part. Here and
  // below a dataset that knows of no documents has one for each sequence.
  virtual int64_t MostDocuments(int64_t /*length*/) const { return 1; }

  // Writes where the documents of a sequence start in it, ascending, the first at position 0, and
  // returns how many there are. `starts` has room for MostDocuments(length). Requires and throws
  // what TrainSequence and HeldOutSequence do.
  virtual int64_t TrainDocuments(int64_t /*index*/, int64_t /*length*/, int64_t* starts) const {
    *starts = 0;
    return 1;
  }
  virtual int64_t HeldOutDocuments(int64_t index, int64_t length, int64_t* starts) const {
    return TrainDocuments(index, length, starts);
  }

  // The positions whose labels the task makes solvable; of text all.
  virtual PositionRange TaskPositions(int64_t length) const = 0;

  // A line for the start-up table.
  virtual std::string Describe() const = 0;
};

// Section [data] of the options.
struct DatasetConfig {
  std::string path = "";           // text: see text_files.h
  std::string synthetic = "";      // or the name of a task
  double held_out_fraction = 0.1;  // of the text's bytes, 0 <= f < 1
  bool separate_documents = false;
  int64_t vocab_size = 0;  // of a synthetic task
  uint64_t seed = 0;
};

// Throws ConfigError unless exactly one of path and synthetic is set, and for what the dataset
// itself rejects.
std::unique_ptr<Dataset> OpenDataset(const DatasetConfig& config);

}  // namespace annulus::runtime
