// A data set whose documents a test can name.
#pragma once

#include <algorithm>
#include <vector>

#include "runtime/data/counter_hash.h"
#include "runtime/data/dataset.h"
#include "runtime/data/position_runs.h"

namespace annulus::runtime {

struct PackedDocument {
  int64_t id = 0;  // its tokens follow from it
  int64_t size = 0;
};

// Sequence `index` holds the documents one after the other, beginning with number `index` and going
// round; those of each sequence are others, but for sequence 0, whose are the ones named. Labels
// stay within a document.
class PackedDocuments : public Dataset {
 public:
  PackedDocuments(std::vector<PackedDocument> documents, int64_t vocab_size)
      : documents_(std::move(documents)), vocab_size_(vocab_size) {}

  int64_t length() const {
    int64_t sum = 0;
    for (const PackedDocument& document : documents_) sum += document.size;
    return sum;
  }

  int64_t vocab_size() const override { return vocab_size_; }
  void CheckLength(int64_t length) const override {
    Check(length == this->length(), "a sequence of {} tokens", length);
  }
  void TrainSequence(int64_t index, int64_t length, const kernels::Positions& positions,
                     int32_t* tokens, int32_t* labels) const override {
    CheckLength(length);
    FillRuns(length, positions, tokens, labels,
             [&](const kernels::PositionRun& run, int32_t* token, int32_t* label) {
               for (int64_t i = 0; i < run.count; ++i) {
                 token[i] = Token(index, run.at(i), 0);
                 label[i] = Token(index, run.at(i), 1);
               }
             });
  }
  int64_t HeldOutSequences(int64_t) const override { return 0; }
  void HeldOutSequence(int64_t, int64_t, const kernels::Positions&, int32_t*,
                       int32_t*) const override {
    Check(false, "nothing is held out");
  }
  int64_t MostDocuments(int64_t) const override { return std::ssize(documents_); }
  int64_t TrainDocuments(int64_t index, int64_t, int64_t* starts) const override {
    int64_t start = 0;
    for (const PackedDocument& document : DocumentsOf(index)) {
      *starts++ = start;
      start += document.size;
    }
    return std::ssize(documents_);
  }
  PositionRange TaskPositions(int64_t length) const override { return {0, length}; }
  std::string Describe() const override { return "documents of a test"; }

 private:
  std::vector<PackedDocument> DocumentsOf(int64_t index) const {
    std::vector<PackedDocument> documents = documents_;
    std::rotate(documents.begin(), documents.begin() + index % std::ssize(documents),
                documents.end());
    for (PackedDocument& document : documents) document.id += 1000 * index;
    return documents;
  }

  // The token `ahead` places after `position`; -1 where that is another document's.
  int32_t Token(int64_t index, int64_t position, int64_t ahead) const {
    for (const PackedDocument& document : DocumentsOf(index)) {
      if (position < document.size) {
        if (position + ahead >= document.size) return -1;
        const Counter place{.index = document.id, .position = position + ahead};
        return static_cast<int32_t>(UniformBelow(place, vocab_size_));
      }
      position -= document.size;
    }
    return -1;
  }

  std::vector<PackedDocument> documents_;
  int64_t vocab_size_;
};

}  // namespace annulus::runtime
