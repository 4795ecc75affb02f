#include "runtime/data/entropy.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string_view>
#include <vector>

#include "kernels/base/error.h"

namespace annulus::runtime {
namespace {

void AddText(EntropyCounter& counter, std::string_view text) {
  const std::vector<int32_t> bytes(text.begin(), text.end());
  counter.Add(bytes.data(), bytes.data() + 1, static_cast<int64_t>(bytes.size()) - 1);
}

TEST(EntropyTest, OfAlternationTheNextTokenIsCertain) {
  EntropyCounter counter(256);
  AddText(counter, "abababababa");  // labels: five b and five a
  EXPECT_EQ(counter.pairs(), 10);
  EXPECT_DOUBLE_EQ(counter.unigram_nats(), std::log(2.0));
  EXPECT_EQ(counter.bigram_nats(), 0);
}

TEST(EntropyTest, OfOneTokenNothingIsUnknown) {
  EntropyCounter counter(256);
  AddText(counter, "aaaaaaa");
  EXPECT_EQ(counter.unigram_nats(), 0);
  EXPECT_EQ(counter.bigram_nats(), 0);
}

// After a: b b c; after b: a c; after c: a. Labels: a a b b c c.
TEST(EntropyTest, CountsByHand) {
  EntropyCounter counter(256);
  AddText(counter, "abcabac");
  // Pairs: ab bc ca ab ba ac.
  EXPECT_DOUBLE_EQ(counter.unigram_nats(), std::log(3.0));
  const double after_a = -(2.0 / 3) * std::log(2.0 / 3) - (1.0 / 3) * std::log(1.0 / 3);
  const double after_b = std::log(2.0);
  EXPECT_NEAR(counter.bigram_nats(), 3.0 / 6 * after_a + 2.0 / 6 * after_b, 1e-15);
}

TEST(EntropyTest, LabelsThatAreNoneAreLeftOut) {
  const std::vector<int32_t> tokens = {1, 2, 0, 0}, labels = {2, 3, -1, -1};
  EntropyCounter counter(4);
  counter.Add(tokens.data(), labels.data(), 4);
  EXPECT_EQ(counter.pairs(), 2);
  EXPECT_DOUBLE_EQ(counter.unigram_nats(), std::log(2.0));
}

TEST(EntropyTest, ManyPairsOfALargeVocabularyInAnyOrderGiveTheSameBits) {
  constexpr int32_t kVocab = 1 << 17;
  std::vector<int32_t> tokens, labels;
  for (int32_t i = 0; i < 50000; ++i) {
    tokens.push_back(kVocab - 1 - i % 1000);
    labels.push_back(i % 7 == 0 ? kVocab - 1 : i);
  }
  EntropyCounter forward(kVocab), backward(kVocab);
  forward.Add(tokens.data(), labels.data(), 50000);
  std::reverse(tokens.begin(), tokens.end());
  std::reverse(labels.begin(), labels.end());
  backward.Add(tokens.data(), labels.data(), 30000);
  backward.Add(tokens.data() + 30000, labels.data() + 30000, 20000);
  EXPECT_EQ(forward.bigram_nats(), backward.bigram_nats());
  EXPECT_EQ(forward.unigram_nats(), backward.unigram_nats());
  EXPECT_GT(forward.bigram_nats(), 0);
  EXPECT_LT(forward.bigram_nats(), forward.unigram_nats());
}

TEST(EntropyTest, NothingCountedIsNothing) {
  EXPECT_EQ(EntropyCounter(2).unigram_nats(), 0);
  EXPECT_EQ(EntropyCounter(2).bigram_nats(), 0);
}

TEST(EntropyTest, RejectsTokensBeyondTheVocabulary) {
  const int32_t inside = 1, outside = 2;
  EXPECT_THROW(EntropyCounter(2).Add(&inside, &outside, 1), InternalError);
  EXPECT_THROW(EntropyCounter(2).Add(&outside, &inside, 1), InternalError);
}

}  // namespace
}  // namespace annulus::runtime
