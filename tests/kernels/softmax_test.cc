#include "kernels/base/bfloat16.h"
#include "tests/kernels/every_device.h"
#include "tests/kernels/test_tensor.h"

namespace annulus::kernels::testing {
namespace {

constexpr float kScale = 0.3f;

// Queries that attend to nothing, one key, the ends, and several segments.
class Keys {
 public:
  Keys(int64_t rows, int64_t width) {
    for (int64_t row = 0; row < rows; ++row) {
      if (row % 4 == 1) Add(row % width, row % width + 1);
      if (row % 4 == 2) Add(0, width);
      if (row % 4 == 3) {
        Add(0, width / 3);
        Add(width / 2, width);
      }
      first_.push_back(static_cast<int64_t>(segments_.size()));
    }
  }

  AllowedKeys view() const { return {segments_, first_}; }
  bool Allows(int64_t row, int64_t key) const {
    const auto r = static_cast<size_t>(row);
    for (int64_t s = first_[r]; s < first_[r + 1]; ++s) {
      const KeySegment& segment = segments_[static_cast<size_t>(s)];
      if (segment.begin <= key && key < segment.end) return true;
    }
    return false;
  }

 private:
  void Add(int64_t begin, int64_t end) { segments_.push_back({begin, end}); }

  std::vector<KeySegment> segments_;
  std::vector<int64_t> first_ = {0};
};

template <class Real>
std::vector<Real> Softmax(const std::vector<Real>& scores, const Keys& keys, int64_t rows) {
  const auto width = static_cast<int64_t>(scores.size()) / rows;
  std::vector<Real> p(scores.size(), 0);
  for (int64_t row = 0; row < rows; ++row) {
    Real max = -std::numeric_limits<Real>::infinity(), sum = 0;
    const auto at = [&](int64_t key) { return static_cast<size_t>(row * width + key); };
    for (int64_t key = 0; key < width; ++key) {
      if (keys.Allows(row, key)) max = std::max(max, scores[at(key)]);
    }
    for (int64_t key = 0; key < width; ++key) {
      if (!keys.Allows(row, key)) continue;
      p[at(key)] = std::exp(Real{kScale} * (scores[at(key)] - max));
      sum += p[at(key)];
    }
    for (int64_t key = 0; key < width; ++key) {
      if (keys.Allows(row, key)) p[at(key)] /= sum;
    }
  }
  return p;
}

template <class Real>
std::vector<Real> SoftmaxBackward(const std::vector<Real>& p, const std::vector<Real>& dp,
                                  int64_t rows) {
  const size_t width = p.size() / static_cast<size_t>(rows);
  std::vector<Real> ds(p.size());
  for (size_t begin = 0; begin < p.size(); begin += width) {
    Real mean = 0;
    for (size_t i = begin; i < begin + width; ++i) mean += p[i] * dp[i];
    for (size_t i = begin; i < begin + width; ++i) ds[i] = Real{kScale} * p[i] * (dp[i] - mean);
  }
  return ds;
}

// A bf16 tensor of a test.
class HalfTensor {
 public:
  HalfTensor(int64_t rows, int64_t width)
      : view_(nullptr, DType::kBF16, {rows, width}), values_(static_cast<size_t>(rows * width)) {}

  View view() {
    View view = view_;
    view.data = values_.data();
    return view;
  }
  std::vector<float> Floats() const {
    std::vector<float> floats;
    for (const BFloat16 value : values_) floats.push_back(ToFloat(value));
    return floats;
  }

 private:
  View view_;
  std::vector<BFloat16> values_;
};

std::vector<float> Rounded(std::vector<float> values) {
  for (float& value : values) value = ToFloat(ToBFloat16(value));
  return values;
}

// With scratch of just the size asked for.
void TakeSoftmax(int threads, const MaskedSoftmaxArgs& args) {
  std::vector<int64_t> scratch(
      static_cast<size_t>(Table(threads).MaskedSoftmaxScratchBytes(args) / 8));
  Table(threads).MaskedSoftmax(
      args, View(scratch.data(), DType::kByte, {static_cast<int64_t>(8 * scratch.size())}));
}

class MaskedSoftmax : public EveryDevice {};

TEST_P(MaskedSoftmax, MatchesReference) {
  for (const auto [rows, width] : kExtents) {
    SCOPED_TRACE(fmt::format("{} x {}", rows, width));
    const Keys keys(rows, width);
    const TestTensor scores = TestTensor::Random({rows, width}, 1, 30);
    const TestTensor dp = TestTensor::Random({rows, width}, 2);
    const auto got = SameForAnyThreads([&](int threads) {
      TestTensor work = scores, p({rows, width}), over = scores, gradient = dp;
      TakeSoftmax(threads, {work.view(), keys.view(), kScale, p.view()});
      TakeSoftmax(threads, {over.view(), keys.view(), kScale, over.view()});
      Table(threads).MaskedSoftmaxBackward({p.view(), gradient.view(), kScale, gradient.view()});
      return Results{p.values(), over.values(), gradient.values()};
    });
    ExpectAsGoodAsPlain(got[0], Softmax<double>(scores.As<double>(), keys, rows),
                        Softmax<float>(scores.values(), keys, rows), "p");
    ExpectSameBits(got[1], got[0], "p over scores");
    const std::vector<double> p(got[0].begin(), got[0].end());
    ExpectAsGoodAsPlain(got[2], SoftmaxBackward<double>(p, dp.As<double>(), rows),
                        SoftmaxBackward<float>(got[0], dp.values(), rows), "ds");
  }
}

// bf16 results are the f32 ones, rounded to nearest.
TEST_P(MaskedSoftmax, RoundsToBFloat16) {
  for (const auto [rows, width] : kExtents) {
    SCOPED_TRACE(fmt::format("{} x {}", rows, width));
    const Keys keys(rows, width);
    TestTensor scores = TestTensor::Random({rows, width}, 1, 30), again = scores;
    TestTensor dp = TestTensor::Random({rows, width}, 2), p({rows, width}), ds({rows, width});
    HalfTensor half_p(rows, width), half_ds(rows, width);
    TakeSoftmax(1, {scores.view(), keys.view(), kScale, p.view()});
    TakeSoftmax(1, {again.view(), keys.view(), kScale, half_p.view()});
    ExpectSameBits(half_p.Floats(), Rounded(p.values()), "p");
    p.values() = half_p.Floats();
    Table(1).MaskedSoftmaxBackward({p.view(), dp.view(), kScale, ds.view()});
    Table(1).MaskedSoftmaxBackward({half_p.view(), dp.view(), kScale, half_ds.view()});
    ExpectSameBits(half_ds.Floats(), Rounded(ds.values()), "ds");
  }
}

ANNULUS_ON_EVERY_DEVICE(MaskedSoftmax);

}  // namespace
}  // namespace annulus::kernels::testing
