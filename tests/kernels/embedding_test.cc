#include "kernels/cpu/elementwise.h"
#include "tests/kernels/every_target.h"
#include "tests/kernels/test_tensor.h"

namespace annulus::kernels::testing {
namespace {

constexpr int64_t kVocabulary = 29;  // fewer than most tests' rows: tokens repeat

std::vector<float> Row(const std::vector<float>& values, int64_t row, int64_t hidden) {
  return {values.begin() + row * hidden, values.begin() + (row + 1) * hidden};
}

TEST(Embedding, CopiesRows) {
  for (const auto [rows, hidden] : kExtents) {
    TestTensor table = TestTensor::Random({kVocabulary, hidden}, 1);
    const std::vector<int32_t> tokens = RandomTokens(rows, 0, kVocabulary, 2);
    const auto got = SameForAnyThreads([&](int threads) {
      TestTensor out({rows, hidden});
      cpu::Embedding({table.view(), Tokens(tokens), out.view()}, threads);
      return Results{out.values()};
    });
    for (int64_t r = 0; r < rows; ++r) {
      ExpectSameBits(Row(got[0], r, hidden),
                     Row(table.values(), tokens[static_cast<size_t>(r)], hidden), "row");
    }
  }
}

class EmbeddingBackward : public EveryTarget {};

// The order of the sum is fixed, so the result is known to the bit.
TEST_P(EmbeddingBackward, AddsRowsInOrder) {
  std::vector<Extents> extents(std::begin(kExtents), std::end(kExtents));
  extents.push_back({70, 300});  // wide enough for columns to be shared out
  for (const auto [rows, hidden] : extents) {
    TestTensor dout = TestTensor::Random({rows, hidden}, 1);
    const TestTensor before = TestTensor::Random({kVocabulary, hidden}, 2);
    const std::vector<int32_t> tokens = RandomTokens(rows, 0, kVocabulary, 3);
    const auto got = SameForAnyThreads([&](int threads) {
      TestTensor dtable = before;
      cpu::EmbeddingBackward({dout.view(), Tokens(tokens), dtable.view()}, threads);
      return Results{dtable.values()};
    });
    std::vector<float> expected = before.values();
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t i = 0; i < hidden; ++i) {
        expected[static_cast<size_t>(tokens[static_cast<size_t>(r)] * hidden + i)] +=
            dout.values()[static_cast<size_t>(r * hidden + i)];
      }
    }
    ExpectSameBits(got[0], expected, "dtable");
  }
}

TEST(Embedding, RefusesTokensOutsideTheVocabulary) {
  TestTensor table = TestTensor::Random({kVocabulary, 4}, 1), out({2, 4});
  for (int32_t token : {-1, static_cast<int32_t>(kVocabulary)}) {
    const std::vector<int32_t> tokens = {0, token};
    EXPECT_THROW(cpu::Embedding({table.view(), Tokens(tokens), out.view()}, 2), InternalError);
    EXPECT_THROW(cpu::EmbeddingBackward({out.view(), Tokens(tokens), table.view()}, 2),
                 InternalError);
  }
}

ANNULUS_ON_EVERY_TARGET(EmbeddingBackward);

}  // namespace
}  // namespace annulus::kernels::testing
