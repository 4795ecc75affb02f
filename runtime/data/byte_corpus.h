// Text as bytes: no tokenizer, a vocabulary of 256.
#pragma once

#include <string>
#include <vector>

#include "runtime/data/dataset.h"
#include "runtime/data/piecewise_text.h"
#include "runtime/io/file_bytes.h"

namespace annulus::runtime {

// The files that data.path leads to (text_files.h), those for training concatenated in order of
// name without anything between. Whole files are held out, so that no held-out sequence continues
// one that was trained on; of a single file the last bytes are. The seed has no say in that: runs
// that differ only in it are judged on the same bytes.
//
// A training sequence starts anywhere, uniformly, where length + 1 bytes follow. Held-out sequences
// are consecutive: number i starts at byte i * length of the held-out bytes, and reads one more for
// its last label. Held-out files lie in a shuffled order, so that the first few sequences are a
// fair sample of all.
//
// The documents of a sequence are the files it was cut from. Where they are separate the last byte
// of a file has no label.
//
// Files stay mapped and must keep their bytes while annulus runs (see file_bytes.h).
class ByteCorpus : public Dataset {
 public:
  struct Config {
    std::string path;
    double held_out_fraction = 0;
    bool separate_documents = false;
    uint64_t seed = 0;
  };
  // Throws ConfigError if 0 <= held_out_fraction < 1 does not hold, or a file cannot be read.
  explicit ByteCorpus(const Config& config);

  int64_t vocab_size() const override { return 256; }
  void CheckLength(int64_t length) const override;
  void TrainSequence(int64_t index, int64_t length, const kernels::Positions& positions,
                     int32_t* tokens, int32_t* labels) const override;
  int64_t HeldOutSequences(int64_t length) const override;
  void HeldOutSequence(int64_t index, int64_t length, const kernels::Positions& positions,
                       int32_t* tokens, int32_t* labels) const override;
  int64_t MostDocuments(int64_t length) const override;
  int64_t TrainDocuments(int64_t index, int64_t length, int64_t* starts) const override;
  int64_t HeldOutDocuments(int64_t index, int64_t length, int64_t* starts) const override;
  PositionRange TaskPositions(int64_t length) const override { return {0, length}; }
  std::string Describe() const override;

  int64_t train_bytes() const { return train_.bytes(); }
  int64_t held_out_bytes() const { return held_out_.bytes(); }

 private:
  // A sequence: `length` tokens from byte `begin` of `text` on, and one byte more for a label.
  struct Cut {
    const PiecewiseText& text;
    int64_t begin;
    int64_t length;
  };
  Cut TrainCut(int64_t index, int64_t length) const;
  Cut HeldOutCut(int64_t index, int64_t length) const;
  void Fill(const Cut& cut, const kernels::Positions& positions, int32_t* tokens,
            int32_t* labels) const;
  static int64_t Documents(const Cut& cut, int64_t* starts);
  void CheckBytes(const PiecewiseText& text, int64_t length, const char* purpose) const;

  Config config_;
  std::vector<FileBytes> files_;
  size_t held_out_files_ = 0;
  PiecewiseText train_;
  PiecewiseText held_out_;
};

}  // namespace annulus::runtime
