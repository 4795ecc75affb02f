#include "runtime/data/recall_task.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "kernels/base/error.h"

namespace annulus::runtime {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

struct Sequence {
  explicit Sequence(int64_t length) : tokens(static_cast<size_t>(length)), labels(tokens) {}

  std::vector<int32_t> tokens;
  std::vector<int32_t> labels;
};

Sequence Train(const RecallTask& task, int64_t index, int64_t length) {
  Sequence out(length);
  task.TrainSequence(index, length, kernels::Positions({0, 1, length}), out.tokens.data(),
                     out.labels.data());
  return out;
}

TEST(RecallTaskTest, TaskLabelsAreTheTokensOneHalfBack) {
  const RecallTask task(1 << 20, 7);
  for (int64_t length : {2, 3, 4, 5, 100, 1001}) {
    const Sequence sequence = Train(task, 3, length);
    const int64_t half = (length + 1) / 2;
    const PositionRange range = task.TaskPositions(length);
    EXPECT_EQ(range.last - range.first, length - half);
    for (int64_t i = range.first; i < range.last; ++i) {
      EXPECT_EQ(sequence.labels[static_cast<size_t>(i)],
                sequence.tokens[static_cast<size_t>(i + 1 - half)]);
    }
    // What nothing can predict is no target.
    for (int64_t i = 0; i < length; ++i) {
      EXPECT_EQ(sequence.labels[static_cast<size_t>(i)] < 0, !range.Contains(i)) << i;
    }
    EXPECT_FALSE(range.Contains(length - 1));
  }
}

// With a million tokens to draw from, a repeat within the first half is a rarity.
TEST(RecallTaskTest, TheFirstHalfIsIndependent) {
  const Sequence sequence = Train(RecallTask(1 << 20, 7), 0, 128);
  for (size_t i = 0; i < 64; ++i) {
    for (size_t j = 0; j < i; ++j) EXPECT_NE(sequence.tokens[i], sequence.tokens[j]);
  }
}

// How far counts are from equal: chi-square in standard deviations from its mean.
double Deviation(const std::vector<double>& counts) {
  double total = 0;
  for (double count : counts) total += count;
  const auto cells = static_cast<double>(counts.size());
  const double expected = total / cells;
  double chi_square = 0;
  for (double count : counts) chi_square += (count - expected) * (count - expected) / expected;
  return (chi_square - (cells - 1)) / std::sqrt(2 * (cells - 1));
}

// Pairs of tokens, of one sequence at a small distance and of neighbouring sequences, are uniform,
// and so are the steps from token to token: a hash of counters may advance in even steps.
TEST(RecallTaskTest, TokensAreUniformAndIndependent) {
  constexpr size_t kVocab = 16, kHalf = 64 * 1000;
  const RecallTask task(kVocab, 11);
  const Sequence sequence = Train(task, 0, 2 * kHalf);
  const Sequence neighbour = Train(task, 1, 2 * kHalf);
  const auto deviation = [&](const Sequence& other, size_t distance) {
    std::vector<double> counts(kVocab * kVocab, 0);
    for (size_t i = 0; i + distance < kHalf; ++i) {
      ++counts[static_cast<size_t>(sequence.tokens[i]) * kVocab +
               static_cast<size_t>(other.tokens[i + distance])];
    }
    return Deviation(counts);
  };
  for (size_t distance : {1, 2, 3, 8, 64, 1024}) {
    EXPECT_LT(std::abs(deviation(sequence, distance)), 5) << distance;
  }
  std::vector<double> steps(kVocab * kVocab, 0);
  for (size_t i = 0; i + 2 < kHalf; ++i) {
    const auto step = [&](size_t at) {
      return static_cast<size_t>(sequence.tokens[at + 1] - sequence.tokens[at]) % kVocab;
    };
    ++steps[step(i) * kVocab + step(i + 1)];
  }
  EXPECT_LT(std::abs(Deviation(steps)), 5);
  EXPECT_LT(std::abs(deviation(neighbour, 0)), 5);
  EXPECT_LT(std::abs(deviation(neighbour, 1)), 5);
}

TEST(RecallTaskTest, HeldOutSequencesAreOthers) {
  const RecallTask task(1 << 20, 7);
  Sequence held_out(64);
  task.HeldOutSequence(0, 64, kernels::Positions({0, 1, 64}), held_out.tokens.data(),
                       held_out.labels.data());
  EXPECT_NE(held_out.tokens, Train(task, 0, 64).tokens);
}

// The numbers are part of what a seed means: a change would silently change every run.
TEST(RecallTaskTest, KeepsItsNumbers) {
  EXPECT_THAT(Train(RecallTask(64, 1), 0, 8).tokens,
              testing::ElementsAre(14, 29, 37, 52, 14, 29, 37, 52));
}

TEST(RecallTaskTest, RejectsWhatCannotBe) {
  for (int64_t vocab_size : {int64_t{0}, int64_t{1}, int64_t{1} << 31}) {
    EXPECT_THAT([=] { RecallTask(vocab_size, 0); },
                ThrowsMessage<ConfigError>(HasSubstr("vocabulary of 2 to")));
  }
  EXPECT_THAT([] { RecallTask(64, 0).CheckLength(1); },
              ThrowsMessage<ConfigError>(HasSubstr("at least 2 tokens, not 1")));
}

}  // namespace
}  // namespace annulus::runtime
