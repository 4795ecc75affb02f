#include "tests/kernels/every_device.h"
#include "tests/kernels/test_tensor.h"

namespace annulus::kernels::testing {
namespace {

constexpr int64_t kVocabulary = 29;  // fewer than most tests' rows: tokens repeat

std::vector<float> Row(const std::vector<float>& values, int64_t row, int64_t hidden) {
  return {values.begin() + row * hidden, values.begin() + (row + 1) * hidden};
}

template <class T>
void ExpectRowsAreCopied() {
  for (const auto [rows, hidden] : kExtents) {
    auto table = TensorOf<T>::Random({kVocabulary, hidden}, 1);
    const std::vector<int32_t> tokens = RandomTokens(rows, 0, kVocabulary, 2);
    const auto got = SameForAnyThreads([&](int threads) {
      TensorOf<T> out({rows, hidden});
      Table(threads).Embedding({table.view(), Tokens(tokens), out.view()});
      return Results{out.template As<float>()};
    });
    for (int64_t r = 0; r < rows; ++r) {
      ExpectSameBits(Row(got[0], r, hidden),
                     Row(table.template As<float>(), tokens[static_cast<size_t>(r)], hidden),
                     "row");
    }
  }
}

class Embedding : public EveryDevice {};

TEST_P(Embedding, CopiesRows) {
  ExpectRowsAreCopied<float>();
  ExpectRowsAreCopied<BFloat16>();
}

// The order of the sum is fixed, so the result is known to the bit.
template <class T>
void ExpectRowsAreAddedInOrder() {
  std::vector<Extents> extents(std::begin(kExtents), std::end(kExtents));
  extents.push_back({70, 300});  // wide enough for columns to be shared out
  for (const auto [rows, hidden] : extents) {
    auto dout = TensorOf<T>::Random({rows, hidden}, 1);
    const auto rows_added = dout.template As<float>();
    const TestTensor before = TestTensor::Random({kVocabulary, hidden}, 2);
    const std::vector<int32_t> tokens = RandomTokens(rows, 0, kVocabulary, 3);
    const auto got = SameForAnyThreads([&](int threads) {
      TestTensor dtable = before;
      Table(threads).EmbeddingBackward({dout.view(), Tokens(tokens), dtable.view()});
      return Results{dtable.values()};
    });
    std::vector<float> expected = before.values();
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t i = 0; i < hidden; ++i) {
        expected[static_cast<size_t>(tokens[static_cast<size_t>(r)] * hidden + i)] +=
            rows_added[static_cast<size_t>(r * hidden + i)];
      }
    }
    ExpectSameBits(got[0], expected, "dtable");
  }
}

class EmbeddingBackward : public EveryDevice {};

TEST_P(EmbeddingBackward, AddsRowsInOrder) {
  ExpectRowsAreAddedInOrder<float>();
  ExpectRowsAreAddedInOrder<BFloat16>();
}

TEST_P(Embedding, RefusesTokensOutsideTheVocabulary) {
  TestTensor table = TestTensor::Random({kVocabulary, 4}, 1), out({2, 4});
  for (int32_t token : {-1, static_cast<int32_t>(kVocabulary)}) {
    const std::vector<int32_t> tokens = {0, token};
    EXPECT_THROW(Table(2).Embedding({table.view(), Tokens(tokens), out.view()}), InternalError);
    EXPECT_THROW(Table(2).EmbeddingBackward({out.view(), Tokens(tokens), table.view()}),
                 InternalError);
  }
}

ANNULUS_ON_EVERY_DEVICE(Embedding);
ANNULUS_ON_EVERY_DEVICE(EmbeddingBackward);

}  // namespace
}  // namespace annulus::kernels::testing
