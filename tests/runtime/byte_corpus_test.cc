#include "runtime/data/byte_corpus.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>
#include <set>
#include <string>

#include "kernels/base/error.h"
#include "tests/runtime/temp_dir.h"

namespace annulus::runtime {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

ByteCorpus Open(const std::string& path, double held_out_fraction, uint64_t seed = 1) {
  return ByteCorpus({.path = path, .held_out_fraction = held_out_fraction, .seed = seed});
}

std::string TokensOf(const std::vector<int32_t>& tokens) {
  std::string text;
  for (int32_t token : tokens) text += static_cast<char>(token);
  return text;
}

std::string HeldOut(const ByteCorpus& corpus, int64_t index, int64_t length) {
  std::vector<int32_t> tokens(static_cast<size_t>(length)), labels(tokens);
  corpus.HeldOutSequence(index, length, kernels::Positions({0, 1, length}), tokens.data(),
                         labels.data());
  return TokensOf(tokens) + static_cast<char>(labels.back());
}

std::string Train(const ByteCorpus& corpus, int64_t index, int64_t length) {
  std::vector<int32_t> tokens(static_cast<size_t>(length)), labels(tokens);
  corpus.TrainSequence(index, length, kernels::Positions({0, 1, length}), tokens.data(),
                       labels.data());
  return TokensOf(tokens) + static_cast<char>(labels.back());
}

TEST(ByteCorpusTest, OfASingleFileTheEndIsHeldOut) {
  const TempDir dir;
  const ByteCorpus corpus =
      Open(dir.Write("text", "abcdefghijklmnopqrstuvwxyz0123456789ABCD"), 0.25);
  EXPECT_EQ(corpus.train_bytes(), 30);
  EXPECT_EQ(corpus.held_out_bytes(), 10);
  ASSERT_EQ(corpus.HeldOutSequences(4), 2);
  EXPECT_EQ(HeldOut(corpus, 0, 4), "45678");
  EXPECT_EQ(HeldOut(corpus, 1, 4), "89ABC");
  EXPECT_EQ(corpus.HeldOutSequences(9), 1);
  EXPECT_EQ(HeldOut(corpus, 0, 9), "456789ABCD");
}

TEST(ByteCorpusTest, EveryStartIsDrawnAndNoneReachesPastTheEnd) {
  const TempDir dir;
  const std::string text = "abcdefghij";
  const ByteCorpus corpus = Open(dir.Write("text", text), 0);
  std::set<std::string> seen;
  for (int64_t index = 0; index < 200; ++index) seen.insert(Train(corpus, index, 4));
  EXPECT_EQ(seen, (std::set<std::string>{"abcde", "bcdef", "cdefg", "defgh", "efghi", "fghij"}));
  EXPECT_EQ(Train(corpus, 0, 9), text);
}

TEST(ByteCorpusTest, FilesAreJoinedInOrderOfNameAndHeldOutWhole) {
  const TempDir dir;
  dir.Write("b", "BBBBB");
  dir.Write("a", "AAAAAA");
  dir.Write("sub/c", "CCCC");
  dir.Write("sub/empty", "");
  dir.Write("z", "Z");
  const ByteCorpus corpus = Open(dir.path().string(), 0.1);
  // 1.6 bytes may be held out: only z is as small as that.
  EXPECT_EQ(corpus.held_out_bytes(), 1);
  EXPECT_EQ(Train(corpus, 0, 14), "AAAAAABBBBBCCCC");
  EXPECT_EQ(corpus.Describe(), "bytes of " + dir.path().string() +
                                   ": 15 in 3 files for training, 1 held out in 1 other files");
}

TEST(ByteCorpusTest, MappedAndReadFilesMeetSeamlessly) {
  const TempDir dir;
  std::string large(FileBytes::kMapBytes + 5, '\0');
  for (size_t i = 0; i < large.size(); ++i) large[i] = static_cast<char>(i * 2654435761U >> 7);
  dir.Write("a", "small");
  dir.Write("b", large);
  dir.Write("c", "\xff\x80");
  const ByteCorpus corpus = Open(dir.path().string(), 0);
  const std::string whole = "small" + large + "\xff\x80";
  EXPECT_EQ(Train(corpus, 0, static_cast<int64_t>(whole.size()) - 1), whole);
}

TEST(ByteCorpusTest, TheSeedDoesNotChangeWhatIsHeldOut) {
  const TempDir dir;
  for (int i = 0; i < 30; ++i) dir.Write(std::to_string(i), std::string(20, static_cast<char>(i)));
  const ByteCorpus one = Open(dir.path().string(), 0.5, 1), two = Open(dir.path().string(), 0.5, 2);
  ASSERT_EQ(one.held_out_bytes(), 300);
  EXPECT_EQ(HeldOut(one, 0, 299), HeldOut(two, 0, 299));
}

TEST(ByteCorpusTest, TooLittleTextIsToldInNumbers) {
  const TempDir dir;
  const std::string path = dir.Write("text", std::string(1500, 'x'));
  const ByteCorpus corpus = Open(path, 0.2);
  EXPECT_NO_THROW(corpus.CheckLength(299));
  EXPECT_THAT([&] { corpus.CheckLength(8192); },
              ThrowsMessage<ConfigError>(
                  HasSubstr("the text at '" + path +
                            "' has 1,200 bytes for training, a sequence of 8,192 needs 8,193: give "
                            "more text or lower train.sequence_length")));
  EXPECT_THAT([&] { Train(corpus, 0, 1200); },
              ThrowsMessage<ConfigError>(HasSubstr("1,200 bytes for training")));
  EXPECT_THAT([&] { corpus.CheckLength(300); },
              ThrowsMessage<ConfigError>(HasSubstr("has 300 bytes held out, a sequence of 300")));
  EXPECT_THAT([&] { corpus.HeldOutSequences(300); },
              ThrowsMessage<ConfigError>(HasSubstr("needs 301")));
}

TEST(ByteCorpusTest, NothingHeldOutIsNoErrorIfNothingWasAskedFor) {
  const TempDir dir;
  const ByteCorpus corpus = Open(dir.Write("text", "0123456789"), 0);
  EXPECT_NO_THROW(corpus.CheckLength(9));
  EXPECT_EQ(corpus.HeldOutSequences(9), 0);
}

TEST(ByteCorpusTest, RejectsAFractionThatIsNone) {
  const TempDir dir;
  const std::string path = dir.Write("text", "text");
  for (double fraction : {-0.1, 1.0, std::numeric_limits<double>::quiet_NaN()}) {
    EXPECT_THAT([&] { Open(path, fraction); },
                ThrowsMessage<ConfigError>(HasSubstr("data.held_out_fraction must be")));
  }
}

std::vector<int64_t> TrainDocuments(const ByteCorpus& corpus, int64_t index, int64_t length) {
  std::vector<int64_t> starts(static_cast<size_t>(corpus.MostDocuments(length)), -1);
  starts.resize(static_cast<size_t>(corpus.TrainDocuments(index, length, starts.data())));
  return starts;
}

TEST(ByteCorpusTest, DocumentsAreTheFilesThatASequenceIsCutFrom) {
  const TempDir dir;
  dir.Write("a", "AAAA");
  dir.Write("b", "B");
  dir.Write("c", "CCC");
  const ByteCorpus corpus({.path = dir.path().string(), .separate_documents = true, .seed = 3});
  EXPECT_EQ(TrainDocuments(corpus, 0, 7), (std::vector<int64_t>{0, 4, 5}));
  EXPECT_EQ(corpus.MostDocuments(7), 3);
  EXPECT_EQ(corpus.MostDocuments(2), 2);
  EXPECT_EQ(corpus.MostDocuments(1), 1);

  // What follows the last byte of a file is no label, on whichever rank it lies.
  std::vector<int32_t> tokens(7), labels(7);
  corpus.TrainSequence(0, 7, kernels::Positions({0, 1, 7}), tokens.data(), labels.data());
  EXPECT_EQ(TokensOf(tokens), "AAAABCC");
  EXPECT_EQ(labels, (std::vector<int32_t>{'A', 'A', 'A', -1, -1, 'C', 'C'}));
  for (const int64_t first : {0, 1, 2}) {
    const kernels::Positions mine({first, 3, 3 - (first > 0)});
    corpus.TrainSequence(0, 7, mine, tokens.data(), labels.data());
    for (int64_t t = 0; t < mine.tokens(); ++t) {
      const int64_t position = mine.at(t);
      EXPECT_EQ(labels[static_cast<size_t>(t)] < 0, position == 3 || position == 4) << position;
    }
  }
}

// Every cut there is, by the text alone: a file's bytes are all the same, its neighbours' others.
TEST(ByteCorpusTest, DocumentsOfEveryCut) {
  const TempDir dir;
  std::string whole;
  for (int file = 0; file < 12; ++file) {
    const std::string text(static_cast<size_t>(1 + file * 7 % 5), static_cast<char>('a' + file));
    dir.Write(fmt::format("f{:02}", file), text);
    whole += text;
  }
  const ByteCorpus corpus = Open(dir.path().string(), 0);
  for (const int64_t length : {1, 2, 5, 13}) {
    size_t most = 0;
    for (int64_t index = 0; index < 300; ++index) {
      const std::string text = Train(corpus, index, length);
      std::vector<int64_t> expected = {0};
      for (int64_t i = 1; i < length; ++i) {
        if (text[static_cast<size_t>(i)] != text[static_cast<size_t>(i - 1)]) expected.push_back(i);
      }
      ASSERT_EQ(TrainDocuments(corpus, index, length), expected) << text;
      most = std::max(most, expected.size());
    }
    EXPECT_EQ(corpus.MostDocuments(length), static_cast<int64_t>(most)) << length;
  }
}

}  // namespace
}  // namespace annulus::runtime
