#include "runtime/data/byte_corpus.h"

#include <cmath>

#include "kernels/base/error.h"
#include "runtime/data/counter_hash.h"
#include "runtime/data/position_runs.h"
#include "runtime/data/text_files.h"
#include "runtime/io/format.h"

namespace annulus::runtime {
namespace {

// The sequence of `length` tokens that starts at byte `begin` of `text`.
void FillFrom(const PiecewiseText& text, int64_t begin, int64_t length,
              const kernels::Positions& positions, int32_t* tokens, int32_t* labels) {
  FillRuns(length, positions, tokens, labels,
           [&](const kernels::PositionRun& run, int32_t* token, int32_t* label) {
             text.Gather(begin + run.start, run.stride, run.count, token);
             text.Gather(begin + run.start + 1, run.stride, run.count, label);
           });
}

}  // namespace

ByteCorpus::ByteCorpus(const std::string& data_path, double held_out_fraction, uint64_t seed)
    : data_path_(data_path), holds_out_(held_out_fraction > 0), seed_(seed) {
  if (!(held_out_fraction >= 0 && held_out_fraction < 1)) {
    ThrowConfigError("data.held_out_fraction must be at least 0 and less than 1, not {}",
                     held_out_fraction);
  }
  const std::vector<TextFile> found = FindTextFiles(data_path);
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
      data_path_, FormatCount(text.bytes()), purpose, FormatCount(length), FormatCount(length + 1));
}

void ByteCorpus::CheckLength(int64_t length) const {
  CheckBytes(train_, length, "for training");
  HeldOutSequences(length);
}

void ByteCorpus::TrainSequence(int64_t index, int64_t length, const kernels::Positions& positions,
                               int32_t* tokens, int32_t* labels) const {
  CheckBytes(train_, length, "for training");
  Check(index >= 0, "training sequence {}", index);
  const Counter counter{.seed = seed_, .stream = Stream::kTrain, .index = index};
  const int64_t begin = UniformBelow(counter, train_.bytes() - length);
  FillFrom(train_, begin, length, positions, tokens, labels);
}

int64_t ByteCorpus::HeldOutSequences(int64_t length) const {
  if (!holds_out_) return 0;
  CheckBytes(held_out_, length, "held out");
  return (held_out_.bytes() - 1) / length;
}

void ByteCorpus::HeldOutSequence(int64_t index, int64_t length, const kernels::Positions& positions,
                                 int32_t* tokens, int32_t* labels) const {
  Check(index >= 0 && index < HeldOutSequences(length), "held-out sequence {}", index);
  FillFrom(held_out_, index * length, length, positions, tokens, labels);
}

std::string ByteCorpus::Describe() const {
  const bool by_file = files_.size() > 1;
  return fmt::format("bytes of {}: {} in {} files for training, {} held out{}", data_path_,
                     FormatCount(train_.bytes()),
                     FormatCount(static_cast<int64_t>(files_.size() - held_out_files_)),
                     FormatCount(held_out_.bytes()),
                     by_file ? fmt::format(" in {} other files", held_out_files_) : " at its end");
}

}  // namespace annulus::runtime
