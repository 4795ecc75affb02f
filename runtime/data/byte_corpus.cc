#include "runtime/data/byte_corpus.h"

#include <algorithm>
#include <cmath>

#include "kernels/base/error.h"
#include "runtime/data/counter_hash.h"
#include "runtime/data/position_runs.h"
#include "runtime/data/text_files.h"
#include "runtime/io/format.h"

namespace annulus::runtime {
namespace {

// Unmakes the labels of `run` that are the first bytes of a piece.
void ForgetFirstBytes(const PiecewiseText& text, int64_t begin, const kernels::PositionRun& run,
                      int32_t* labels) {
  for (const int64_t border : text.BordersBetween(begin + run.start, begin + run.last() + 2)) {
    const int64_t ahead = border - 1 - (begin + run.start);
    if (ahead % run.stride == 0) labels[ahead / run.stride] = -1;
  }
}

}  // namespace

ByteCorpus::ByteCorpus(const Config& config) : config_(config) {
  const double held_out_fraction = config_.held_out_fraction;
  if (!(held_out_fraction >= 0 && held_out_fraction < 1)) {
    ThrowConfigError("data.held_out_fraction must be at least 0 and less than 1, not {}",
                     held_out_fraction);
  }
  const std::vector<TextFile> found = FindTextFiles(config_.path);
  for (const TextFile& file : found) files_.emplace_back(file.path);

  if (found.size() == 1) {
    const std::span<const std::byte> bytes = files_.front().bytes();
    const double kept = static_cast<double>(bytes.size()) * (1 - held_out_fraction);
    const auto train_bytes = static_cast<size_t>(std::llround(kept));
    train_.Append(bytes.first(train_bytes));
    held_out_.Append(bytes.subspan(train_bytes));
    return;
  }
  std::vector<bool> held_out(found.size(), false);
  for (size_t i : ChooseHeldOut(found, held_out_fraction)) {
    held_out[i] = true;
    held_out_.Append(files_[i].bytes());
    ++held_out_files_;
  }
  for (size_t i = 0; i < found.size(); ++i) {
    if (!held_out[i]) train_.Append(files_[i].bytes());
  }
}

void ByteCorpus::CheckBytes(const PiecewiseText& text, int64_t length, const char* purpose) const {
  Check(length >= 1, "a sequence of {} tokens", length);
  if (text.bytes() > length) return;
  ThrowConfigError(
      "the text at '{}' has {} bytes {}, a sequence of {} needs {}: give more text or lower "
      "train.sequence_length",
      config_.path, FormatCount(text.bytes()), purpose, FormatCount(length),
      FormatCount(length + 1));
}

void ByteCorpus::CheckLength(int64_t length) const {
  CheckBytes(train_, length, "for training");
  HeldOutSequences(length);
}

ByteCorpus::Cut ByteCorpus::TrainCut(int64_t index, int64_t length) const {
  CheckBytes(train_, length, "for training");
  Check(index >= 0, "training sequence {}", index);
  const Counter counter{.seed = config_.seed, .stream = Stream::kTrain, .index = index};
  return {train_, UniformBelow(counter, train_.bytes() - length), length};
}

ByteCorpus::Cut ByteCorpus::HeldOutCut(int64_t index, int64_t length) const {
  Check(index >= 0 && index < HeldOutSequences(length), "held-out sequence {}", index);
  return {held_out_, index * length, length};
}

void ByteCorpus::Fill(const Cut& cut, const kernels::Positions& positions, int32_t* tokens,
                      int32_t* labels) const {
  FillRuns(cut.length, positions, tokens, labels,
           [&](const kernels::PositionRun& run, int32_t* token, int32_t* label) {
             cut.text.Gather(cut.begin + run.start, run.stride, run.count, token);
             cut.text.Gather(cut.begin + run.start + 1, run.stride, run.count, label);
             if (config_.separate_documents) ForgetFirstBytes(cut.text, cut.begin, run, label);
           });
}

int64_t ByteCorpus::Documents(const Cut& cut, int64_t* starts) {
  int64_t* end = starts;
  *end++ = 0;
  for (const int64_t border : cut.text.BordersBetween(cut.begin, cut.begin + cut.length)) {
    *end++ = border - cut.begin;
  }
  return end - starts;
}

void ByteCorpus::TrainSequence(int64_t index, int64_t length, const kernels::Positions& positions,
                               int32_t* tokens, int32_t* labels) const {
  Fill(TrainCut(index, length), positions, tokens, labels);
}

int64_t ByteCorpus::HeldOutSequences(int64_t length) const {
  if (config_.held_out_fraction == 0) return 0;
  CheckBytes(held_out_, length, "held out");
  return (held_out_.bytes() - 1) / length;
}

void ByteCorpus::HeldOutSequence(int64_t index, int64_t length, const kernels::Positions& positions,
                                 int32_t* tokens, int32_t* labels) const {
  Fill(HeldOutCut(index, length), positions, tokens, labels);
}

int64_t ByteCorpus::MostDocuments(int64_t length) const {
  return std::max(train_.MostPieces(length), held_out_.MostPieces(length));
}

int64_t ByteCorpus::TrainDocuments(int64_t index, int64_t length, int64_t* starts) const {
  return Documents(TrainCut(index, length), starts);
}

int64_t ByteCorpus::HeldOutDocuments(int64_t index, int64_t length, int64_t* starts) const {
  return Documents(HeldOutCut(index, length), starts);
}

std::string ByteCorpus::Describe() const {
  const bool by_file = files_.size() > 1;
  return fmt::format("bytes of {}: {} in {} files for training, {} held out{}", config_.path,
                     FormatCount(train_.bytes()),
                     FormatCount(static_cast<int64_t>(files_.size() - held_out_files_)),
                     FormatCount(held_out_.bytes()),
                     by_file ? fmt::format(" in {} other files", held_out_files_) : " at its end");
}

}  // namespace annulus::runtime
