#include "tests/kernels/every_device.h"
#include "tests/kernels/test_tensor.h"

namespace annulus::kernels::testing {
namespace {

class CopyStrided : public EveryDevice {};

// A part of a tensor that is copied into a part of another.
struct Part {
  Dims from_shape, to_shape, from_begin, to_begin, count;
};

// Heads of [N,T,H,D]; rows that are whole in one tensor or in both; one long row; a single element;
// nothing at all.
constexpr Part kParts[] = {
    {{2, 5, 7, 6}, {2, 5, 3, 6}, {0, 0, 2, 0}, {0, 0, 0, 0}, {2, 5, 3, 6}},
    {{2, 5, 3, 6}, {2, 9, 3, 6}, {0, 0, 0, 0}, {0, 4, 0, 0}, {2, 5, 3, 6}},
    {{3, 4, 5, 8}, {3, 4, 5, 8}, {0, 0, 0, 0}, {0, 0, 0, 0}, {3, 4, 5, 8}},
    {{1, 1, 2, 40000}, {1, 1, 3, 40000}, {0, 0, 1, 0}, {0, 0, 2, 0}, {1, 1, 1, 40000}},
    {{3, 200, 9, 20}, {3, 200, 4, 20}, {0, 0, 4, 0}, {0, 0, 1, 0}, {3, 200, 3, 20}},
    {{2, 2, 2, 5}, {1, 3, 1, 4}, {1, 0, 1, 4}, {0, 2, 0, 3}, {1, 1, 1, 1}},
    {{2, 3, 4, 5}, {2, 3, 4, 5}, {0, 0, 0, 0}, {0, 0, 0, 0}, {2, 3, 0, 5}}};

template <class T>
TensorOf<T> RandomOf(const Dims& dims, unsigned seed) {
  return TensorOf<T>::Random({dims[0], dims[1], dims[2], dims[3]}, seed);
}

View PartOf(View whole, const Dims& begin, const Dims& count) {
  for (int d = 0; d < kMaxRank; ++d) {
    whole = whole.Slice(d, begin[static_cast<size_t>(d)], count[static_cast<size_t>(d)]);
  }
  return whole;
}

// The element's place in a contiguous tensor of `shape`.
size_t At(const Dims& shape, const Dims& begin, const Dims& i) {
  int64_t at = 0;
  for (size_t d = 0; d < shape.size(); ++d) at = at * shape[d] + begin[d] + i[d];
  return static_cast<size_t>(at);
}

template <class T>
void ExpectCopied(const Part& part, bool accumulate) {
  TensorOf<T> from = RandomOf<T>(part.from_shape, 1);
  const TensorOf<T> before = RandomOf<T>(part.to_shape, 2);
  const auto got = SameForAnyThreads([&](int threads) {
    TensorOf<T> to = before;
    Table(threads).CopyStrided({PartOf(from.view(), part.from_begin, part.count),
                                PartOf(to.view(), part.to_begin, part.count), accumulate});
    return Results{to.template As<float>()};
  });
  std::vector<float> expected = before.template As<float>();
  Dims i{};
  for (i[0] = 0; i[0] < part.count[0]; ++i[0]) {
    for (i[1] = 0; i[1] < part.count[1]; ++i[1]) {
      for (i[2] = 0; i[2] < part.count[2]; ++i[2]) {
        for (i[3] = 0; i[3] < part.count[3]; ++i[3]) {
          float& to = expected[At(part.to_shape, part.to_begin, i)];
          const float x = ToFloat(from.values()[At(part.from_shape, part.from_begin, i)]);
          to = accumulate ? to + x : x;
        }
      }
    }
  }
  ExpectSameBits(got[0], expected, "the whole of what was copied into");
}

TEST_P(CopyStrided, WritesThePartAndNothingElse) {
  for (const Part& part : kParts) {
    ExpectCopied<float>(part, false);
    ExpectCopied<BFloat16>(part, false);
    ExpectCopied<float>(part, true);
  }
}

ANNULUS_ON_EVERY_DEVICE(CopyStrided);

}  // namespace
}  // namespace annulus::kernels::testing
