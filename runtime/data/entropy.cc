#include "runtime/data/entropy.h"

#include <algorithm>
#include <cmath>

#include "kernels/base/error.h"

namespace annulus::runtime {
namespace {

// The sum of n ln n over counts, smallest first: neither order of counting nor that of a hash table
// shows in the bits.
double SumNLogN(std::vector<int64_t> counts) {
  std::sort(counts.begin(), counts.end());
  double sum = 0;
  for (int64_t count : counts) {
    if (count > 0) sum += static_cast<double>(count) * std::log(static_cast<double>(count));
  }
  return sum;
}

}  // namespace

EntropyCounter::EntropyCounter(int64_t vocab_size) : vocab_size_(vocab_size) {
  Check(vocab_size >= 1, "a vocabulary of {}", vocab_size);
  token_counts_.resize(static_cast<size_t>(vocab_size));
  label_counts_.resize(static_cast<size_t>(vocab_size));
}

void EntropyCounter::Add(const int32_t* tokens, const int32_t* labels, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    const int64_t token = tokens[i], label = labels[i];
    if (label < 0) continue;
    Check(token >= 0 && token < vocab_size_ && label < vocab_size_,
          "token {} and label {} in a vocabulary of {}", token, label, vocab_size_);
    ++token_counts_[static_cast<size_t>(token)];
    ++label_counts_[static_cast<size_t>(label)];
    ++pair_counts_[token * vocab_size_ + label];
    ++pairs_;
  }
}

// -sum (n/N) ln (n/N) = ln N - (1/N) sum n ln n.
double EntropyCounter::unigram_nats() const {
  if (pairs_ == 0) return 0;
  const auto total = static_cast<double>(pairs_);
  return std::max(0.0, std::log(total) - SumNLogN(label_counts_) / total);
}

// -sum over pairs (n/N) ln (n/n_token) = (1/N) (sum over tokens n ln n - sum over pairs n ln n).
double EntropyCounter::bigram_nats() const {
  if (pairs_ == 0) return 0;
  std::vector<int64_t> counts;
  counts.reserve(pair_counts_.size());
  for (const auto& [pair, count] : pair_counts_) counts.push_back(count);
  const double difference = SumNLogN(token_counts_) - SumNLogN(std::move(counts));
  return std::max(0.0, difference / static_cast<double>(pairs_));
}

}  // namespace annulus::runtime
