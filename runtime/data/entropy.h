// What a text gives away to models that look at one token or none.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

namespace annulus::runtime {

// Counts (token, label) pairs and tells their empirical entropies in nats (Shannon 1948). They are
// the text's own: the mean loss over exactly these pairs of the best unigram and the best bigram
// model there are, fitted to these very pairs. No such model can be below them, so a model whose
// loss on the same pairs is below bigram_nats() uses more than the token before.
//
// Few pairs make bigram_nats() small (each token seen once: 0), which only makes it harder to beat.
// Memory: 8 bytes per entry of the vocabulary and some 40 per distinct pair, never their square.
class EntropyCounter {
 public:
  // Requires vocab_size >= 1.
  explicit EntropyCounter(int64_t vocab_size);

  // `count` pairs; those with a label < 0 (no target) are left out.
  // Requires 0 <= token < vocab_size and label < vocab_size.
  void Add(const int32_t* tokens, const int32_t* labels, int64_t count);

  int64_t pairs() const { return pairs_; }

  // H(label) and H(label | token). 0 before the first pair. The same bits for the same counts, in
  // whatever order they came.
  double unigram_nats() const;
  double bigram_nats() const;

 private:
  int64_t vocab_size_;
  int64_t pairs_ = 0;
  std::vector<int64_t> token_counts_;
  std::vector<int64_t> label_counts_;
  std::unordered_map<int64_t, int64_t> pair_counts_;  // by token * vocab_size + label
};

}  // namespace annulus::runtime
