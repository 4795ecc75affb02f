#include "tests/kernels/every_device.h"
#include "tests/kernels/test_tensor.h"
#include "tests/reference/layer_reference.h"

namespace annulus::kernels::testing {
namespace {

std::vector<int64_t> Listed(const Positions& positions) {
  std::vector<int64_t> list;
  for (int64_t t = 0; t < positions.tokens(); ++t) list.push_back(positions.at(t));
  return list;
}

class RopeTable : public EveryDevice {};

// float64 angles: each entry is the truth rounded once, up to the last bit, at any position.
TEST_P(RopeTable, KeepsThePhaseOfLargePositions) {
  Positions positions;
  positions.Append({0, 1, 100});
  positions.Append({(1 << 24) + 1, 3, 50});
  positions.Append({int64_t{1} << 33, 7, 13});
  for (int64_t head_dim : {2, 6, 64, 130}) {
    const auto got = SameForAnyThreads([&](int threads) {
      TestTensor cosine({positions.tokens(), head_dim / 2});
      TestTensor sine({positions.tokens(), head_dim / 2});
      Table(threads).RopeTable({positions, 500000.0, cosine.view(), sine.view()});
      return Results{cosine.values(), sine.values()};
    });
    const auto truth = reference::RopeTable(Listed(positions), 500000.0, head_dim);
    // Two roundings of the angle at position 2^33 reach 2e-6.
    const auto tolerance = [&](size_t i) {
      return i < 150 * static_cast<size_t>(head_dim / 2) ? 1e-7 : 3e-6;
    };
    for (size_t i = 0; i < got[0].size(); ++i) {
      ASSERT_NEAR(got[0][i], truth.cosine[i], tolerance(i)) << i;
      ASSERT_NEAR(got[1][i], truth.sine[i], tolerance(i)) << i;
    }
  }
}

struct Case {
  int64_t batch, tokens, heads, head_dim;
};

constexpr Case kCases[] = {
    {1, 1, 1, 2}, {2, 3, 1, 6}, {1, 17, 3, 34}, {2, 65, 4, 64}, {3, 50, 2, 126}};

template <class T>
void ExpectRopeMatchesReferenceAndTurnsBack() {
  for (const auto [batch, tokens, heads, head_dim] : kCases) {
    SCOPED_TRACE(fmt::format("{} x {} x {} x {} of {}", batch, tokens, heads, head_dim,
                             NameOf(DTypeOf<T>::value)));
    TestTensor cosine({tokens, head_dim / 2}), sine({tokens, head_dim / 2});
    Table(1).RopeTable({Positions({5, 2, tokens}), 10000.0, cosine.view(), sine.view()});
    const auto x = TensorOf<T>::Random({batch, tokens, heads, head_dim}, 1);
    const auto got = SameForAnyThreads([&](int threads) {
      TensorOf<T> turned = x;
      Table(threads).Rope({turned.view(), cosine.view(), sine.view()});
      TensorOf<T> back = turned;
      Table(threads).Rope({back.view(), cosine.view(), sine.view(), true});
      return Results{turned.template As<float>(), back.template As<float>()};
    });
    const auto sequence = static_cast<size_t>(tokens * heads * head_dim);
    for (size_t b = 0; b < static_cast<size_t>(batch); ++b) {
      const auto part = [&](const std::vector<float>& all) {
        const float* begin = all.data() + b * sequence;
        return std::vector<float>(begin, begin + sequence);
      };
      const std::vector<float> in = part(x.template As<float>());
      const std::vector<double> in64(in.begin(), in.end());
      const auto truth =
          reference::Rope<double>(in64, heads, cosine.As<double>(), sine.As<double>(), tokens);
      const auto plain = reference::Rope<float>(in, heads, cosine.values(), sine.values(), tokens);
      ExpectAsGoodAsPlain(part(got[0]), truth, RoundedTo<T>(plain), "turned");
      // Two roundings of numbers below 4.
      const float tolerance = std::is_same_v<T, float> ? 1e-6f : 0x1p-6f;
      const std::vector<float> turned_back = part(got[1]);
      for (size_t i = 0; i < sequence; ++i) ASSERT_NEAR(turned_back[i], in[i], tolerance) << i;
    }
  }
}

class Rope : public EveryDevice {};

TEST_P(Rope, MatchesReferenceAndTurnsBack) {
  ExpectRopeMatchesReferenceAndTurnsBack<float>();
  ExpectRopeMatchesReferenceAndTurnsBack<BFloat16>();
}

ANNULUS_ON_EVERY_DEVICE(RopeTable);
ANNULUS_ON_EVERY_DEVICE(Rope);

}  // namespace
}  // namespace annulus::kernels::testing
