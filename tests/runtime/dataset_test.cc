// What every dataset promises, whatever it holds.
#include "runtime/data/dataset.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "kernels/base/error.h"
#include "parallel/partition.h"
#include "tests/runtime/temp_dir.h"

namespace annulus::runtime {
namespace {

using kernels::Positions;
using parallel::Partition;
using parallel::PartitionKind;
using testing::HasSubstr;
using testing::ThrowsMessage;

struct Sequence {
  std::vector<int32_t> tokens;
  std::vector<int32_t> labels;

  bool operator==(const Sequence&) const = default;
};

enum class Split { kTrain, kHeldOut };

Sequence Read(const Dataset& data, Split split, int64_t index, int64_t length,
              const Positions& positions) {
  const auto count = static_cast<size_t>(positions.tokens());
  // What is not overwritten shows.
  Sequence out{std::vector<int32_t>(count, -99), std::vector<int32_t>(count, -99)};
  if (split == Split::kTrain) {
    data.TrainSequence(index, length, positions, out.tokens.data(), out.labels.data());
  } else {
    data.HeldOutSequence(index, length, positions, out.tokens.data(), out.labels.data());
  }
  return out;
}

Sequence ReadWhole(const Dataset& data, Split split, int64_t index, int64_t length) {
  return Read(data, split, index, length, Positions({0, 1, length}));
}

// Many small files, so that sequences run over several.
void WriteText(const TempDir& dir) {
  for (int file = 0; file < 40; ++file) {
    std::string text;
    for (int i = 0; i < 7 * file + 1; ++i) {
      text += static_cast<char>((file * 31 + i * 7 + i * i) % 256);
    }
    dir.Write(fmt::format("d{}/f{}", file % 3, file), text);
  }
}

class DatasetTest : public testing::TestWithParam<std::string> {
 protected:
  DatasetTest() {
    if (GetParam() == "text") WriteText(dir_);
    data_ = Open(1234);
  }

  std::unique_ptr<Dataset> Open(uint64_t seed, bool separate_documents = false) const {
    DatasetConfig config;
    config.seed = seed;
    config.separate_documents = separate_documents;
    config.held_out_fraction = 0.3;
    if (GetParam() == "text") {
      config.path = dir_.path().string();
    } else {
      config.synthetic = GetParam();
      config.vocab_size = 64;
    }
    return OpenDataset(config);
  }

  TempDir dir_;
  std::unique_ptr<Dataset> data_;
};

TEST_P(DatasetTest, ShardsOfEveryPartitionReassembleToTheWhole) {
  for (Split split : {Split::kTrain, Split::kHeldOut}) {
    for (int64_t length : {2, 3, 31, 64, 257, 700}) {
      const Sequence whole = ReadWhole(*data_, split, 1, length);
      for (PartitionKind kind :
           {PartitionKind::kContiguous, PartitionKind::kZigzag, PartitionKind::kStriped}) {
        for (int ranks : {1, 2, 3, 4, 7}) {
          const Partition partition(kind, length, ranks);
          for (int rank = 0; rank < ranks; ++rank) {
            const Positions positions = partition.PositionsOf(rank);
            const Sequence shard = Read(*data_, split, 1, length, positions);
            for (int64_t t = 0; t < positions.tokens(); ++t) {
              const auto here = static_cast<size_t>(t);
              const auto there = static_cast<size_t>(positions.at(t));
              const bool padding = positions.at(t) >= length;
              ASSERT_EQ(shard.tokens[here], padding ? 0 : whole.tokens[there]);
              ASSERT_EQ(shard.labels[here], padding ? -1 : whole.labels[there]);
            }
          }
        }
      }
    }
  }
}

TEST_P(DatasetTest, LabelsAreTheNextTokens) {
  for (Split split : {Split::kTrain, Split::kHeldOut}) {
    for (int64_t index = 0; index < 3; ++index) {
      const Sequence whole = ReadWhole(*data_, split, index, 333);
      const PositionRange task = data_->TaskPositions(333);
      for (size_t i = 0; i + 1 < whole.tokens.size(); ++i) {
        const bool target = task.Contains(static_cast<int64_t>(i));
        ASSERT_EQ(whole.labels[i], target ? whole.tokens[i + 1] : -1);
      }
    }
  }
}

std::vector<int64_t> Documents(const Dataset& data, Split split, int64_t index, int64_t length) {
  std::vector<int64_t> starts(static_cast<size_t>(data.MostDocuments(length)), -1);
  const int64_t count = split == Split::kTrain
                            ? data.TrainDocuments(index, length, starts.data())
                            : data.HeldOutDocuments(index, length, starts.data());
  EXPECT_LE(count, std::ssize(starts));
  starts.resize(static_cast<size_t>(count));
  return starts;
}

TEST_P(DatasetTest, NoLabelLiesInAnotherDocument) {
  const std::unique_ptr<Dataset> separate = Open(1234, true);
  int64_t unmade = 0;
  for (Split split : {Split::kTrain, Split::kHeldOut}) {
    for (int64_t length : {2, 31, 257, 700}) {
      const std::vector<int64_t> starts = Documents(*separate, split, 1, length);
      EXPECT_EQ(starts.front(), 0);
      EXPECT_TRUE(std::is_sorted(starts.begin(), starts.end(), std::less_equal<>()));
      EXPECT_LT(starts.back(), length);
      const Sequence joined = ReadWhole(*data_, split, 1, length);
      const Sequence apart = ReadWhole(*separate, split, 1, length);
      EXPECT_EQ(apart.tokens, joined.tokens);
      for (int64_t i = 0; i + 1 < length; ++i) {
        const bool ends = std::binary_search(starts.begin(), starts.end(), i + 1);
        const auto at = static_cast<size_t>(i);
        ASSERT_EQ(apart.labels[at], ends ? -1 : joined.labels[at]) << i;
        unmade += ends;
      }
    }
  }
  EXPECT_EQ(unmade > 0, GetParam() == "text");
}

TEST_P(DatasetTest, TokensFitTheVocabulary) {
  const Sequence whole = ReadWhole(*data_, Split::kTrain, 0, 700);
  for (int32_t token : whole.tokens) {
    EXPECT_GE(token, 0);
    EXPECT_LT(token, data_->vocab_size());
  }
}

TEST_P(DatasetTest, ASequenceDependsOnSeedAndIndexOnly) {
  const Sequence first = ReadWhole(*data_, Split::kTrain, 5, 100);
  ReadWhole(*data_, Split::kTrain, 6, 50);
  EXPECT_EQ(first, ReadWhole(*data_, Split::kTrain, 5, 100));
  EXPECT_EQ(first, ReadWhole(*Open(1234), Split::kTrain, 5, 100));
  EXPECT_NE(first, ReadWhole(*data_, Split::kTrain, 6, 100));
  EXPECT_NE(first, ReadWhole(*Open(1235), Split::kTrain, 5, 100));
}

TEST_P(DatasetTest, EveryHeldOutSequenceIsThereAndNoMore) {
  const int64_t sequences = data_->HeldOutSequences(100);
  ASSERT_GE(sequences, 3);
  const Sequence last = ReadWhole(*data_, Split::kHeldOut, sequences - 1, 100);
  EXPECT_NE(last, ReadWhole(*data_, Split::kHeldOut, 0, 100));
  EXPECT_THROW(ReadWhole(*data_, Split::kHeldOut, sequences, 100), InternalError);
  EXPECT_THROW(ReadWhole(*data_, Split::kHeldOut, -1, 100), InternalError);
  EXPECT_THROW(ReadWhole(*data_, Split::kTrain, -1, 100), InternalError);
}

INSTANTIATE_TEST_SUITE_P(Datasets, DatasetTest, testing::Values("text", "recall"),
                         [](const auto& name) { return name.param; });

TEST(OpenDatasetTest, RejectsAContradictoryChoice) {
  EXPECT_THAT([] { OpenDataset({}); },
              ThrowsMessage<ConfigError>(HasSubstr("set data.path to a text, or data.synthetic")));
  EXPECT_THAT([] { OpenDataset({.path = "/tmp", .synthetic = "recall"}); },
              ThrowsMessage<ConfigError>(HasSubstr("both set")));
  EXPECT_THAT([] { OpenDataset({.synthetic = "recal"}); },
              ThrowsMessage<ConfigError>(HasSubstr("no task 'recal'; known: recall")));
}

}  // namespace
}  // namespace annulus::runtime
