// Attention cases with other numbers at every run: lengths, head groups, partition, folding order
// and mask drawn at random.
//
// ANNULUS_TEST_SEED=N repeats a run; a failure names its seed.
#pragma once

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <random>
#include <string>
#include <vector>

#include "tests/kernels/attention_case.h"

namespace annulus::kernels {

class Draw {
 public:
  explicit Draw(uint64_t seed) : generator_(seed) {}

  int64_t Between(int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(generator_);
  }
  template <class T>
  T OneOf(std::initializer_list<T> values) {
    return values.begin()[Between(0, std::ssize(values) - 1)];
  }
  template <class T>
  void Shuffle(std::vector<T>& values) {
    std::shuffle(values.begin(), values.end(), generator_);
  }

 private:
  std::mt19937_64 generator_;
};

struct DrawSpec {
  DType dtype = DType::kF32;
  MaskKind kind = MaskKind::kCausal;
  int head_dim = 64;
  int64_t most_tokens = 100;  // about; the length is odd

  // Distinct ones draw distinct numbers.
  uint64_t which() const {
    return static_cast<uint64_t>(head_dim) * 16 + static_cast<uint64_t>(kind) * 2 +
           static_cast<uint64_t>(dtype == DType::kBF16);
  }
  std::string name() const;  // of a test
};

struct DrawnCase {
  AttentionCase attention;
  std::vector<int64_t> document_starts;  // that the mask reads; moves with this
  std::string description;               // with the seed that repeats it
};
DrawnCase DrawCase(const DrawSpec& spec, Draw& draw);

// Of this run of the tests.
uint64_t RunSeed();

// The numbers of this run that belong to `spec`.
Draw DrawOf(const DrawSpec& spec);

}  // namespace annulus::kernels
