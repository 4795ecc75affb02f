#include "runtime/data/recall_task.h"

#include <limits>

#include "kernels/base/error.h"
#include "runtime/data/counter_hash.h"
#include "runtime/data/position_runs.h"
#include "runtime/io/format.h"

namespace annulus::runtime {
namespace {

int64_t Half(int64_t length) { return (length + 1) / 2; }

// One sequence; `sequence` names it, its position is not looked at.
struct RecallSequence {
  Counter sequence;
  int64_t vocab_size;
  int64_t length;

  int32_t Token(int64_t position) const {
    const int64_t half = Half(length);
    Counter place = sequence;
    place.position = position < half ? position : position - half;
    return static_cast<int32_t>(UniformBelow(place, vocab_size));
  }

  void Fill(const kernels::Positions& positions, int32_t* tokens, int32_t* labels) const {
    FillRuns(length, positions, tokens, labels,
             [this](const kernels::PositionRun& run, int32_t* token, int32_t* label) {
               for (int64_t i = 0; i < run.count; ++i) {
                 const int64_t position = run.at(i);
                 token[i] = Token(position);
                 const bool repeats = position + 1 >= Half(length) && position + 1 < length;
                 label[i] = repeats ? Token(position + 1) : -1;
               }
             });
  }
};

}  // namespace

RecallTask::RecallTask(int64_t vocab_size, uint64_t seed) : vocab_size_(vocab_size), seed_(seed) {
  if (vocab_size < 2 || vocab_size > std::numeric_limits<int32_t>::max()) {
    ThrowConfigError("the recall task needs a vocabulary of 2 to 2,147,483,647 tokens, not {}",
                     FormatCount(vocab_size));
  }
}

void RecallTask::CheckLength(int64_t length) const {
  if (length < 2) {
    ThrowConfigError("the recall task needs sequences of at least 2 tokens, not {}", length);
  }
}

void RecallTask::TrainSequence(int64_t index, int64_t length, const kernels::Positions& positions,
                               int32_t* tokens, int32_t* labels) const {
  CheckLength(length);
  Check(index >= 0, "training sequence {}", index);
  const Counter sequence{.seed = seed_, .stream = Stream::kTrain, .index = index};
  RecallSequence{sequence, vocab_size_, length}.Fill(positions, tokens, labels);
}

int64_t RecallTask::HeldOutSequences(int64_t length) const {
  CheckLength(length);
  return kHeldOutSequences;
}

void RecallTask::HeldOutSequence(int64_t index, int64_t length, const kernels::Positions& positions,
                                 int32_t* tokens, int32_t* labels) const {
  Check(index >= 0 && index < HeldOutSequences(length), "held-out sequence {}", index);
  const Counter sequence{.seed = seed_, .stream = Stream::kHeldOut, .index = index};
  RecallSequence{sequence, vocab_size_, length}.Fill(positions, tokens, labels);
}

PositionRange RecallTask::TaskPositions(int64_t length) const {
  CheckLength(length);
  return {Half(length) - 1, length - 1};
}

std::string RecallTask::Describe() const {
  return fmt::format("recall of {} tokens: the second half repeats the first",
                     FormatCount(vocab_size_));
}

}  // namespace annulus::runtime
