// Tensors that a test owns, and how near a kernel must come to the float64 reference.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <random>
#include <string_view>
#include <type_traits>
#include <vector>

#include "kernels/base/bfloat16.h"
#include "kernels/base/view.h"

namespace annulus::kernels::testing {

// T is float or BFloat16.
template <class T>
T FromFloat(float x) {
  if constexpr (std::is_same_v<T, float>) {
    return x;
  } else {
    return ToBFloat16(x);
  }
}
inline float ToFloat(float x) { return x; }

// What a plain implementation would store of its f32 results in elements of T.
template <class T>
std::vector<float> RoundedTo(std::vector<float> values) {
  for (float& value : values) value = ToFloat(FromFloat<T>(value));
  return values;
}

// A tensor in memory of exactly its size. What a kernel is to overwrite starts as NaN, so that an
// element left out is seen.
template <class T>
class TensorOf {
 public:
  explicit TensorOf(std::initializer_list<int64_t> dims)
      : view_(nullptr, DTypeOf<T>::value, dims),
        values_(static_cast<size_t>(view_.size()),
                FromFloat<T>(std::numeric_limits<float>::quiet_NaN())) {}

  // Uniform in [-magnitude, magnitude), the same for the same seed.
  static TensorOf Random(std::initializer_list<int64_t> dims, unsigned seed,
                         float magnitude = 2.0f) {
    TensorOf tensor(dims);
    std::mt19937 bits(seed);
    std::uniform_real_distribution<float> uniform(-magnitude, magnitude);
    for (T& value : tensor.values_) value = FromFloat<T>(uniform(bits));
    return tensor;
  }

  View view() {
    View view = view_;
    view.data = values_.data();
    return view;
  }

  std::vector<T>& values() { return values_; }
  const std::vector<T>& values() const { return values_; }
  template <class Real>
  std::vector<Real> As() const {
    std::vector<Real> widened;
    for (const T& value : values_) widened.push_back(static_cast<Real>(ToFloat(value)));
    return widened;
  }

 private:
  View view_;
  std::vector<T> values_;
};

using TestTensor = TensorOf<float>;

inline ConstView Tokens(const std::vector<int32_t>& tokens) {
  return ConstView(tokens.data(), DType::kI32, {static_cast<int64_t>(tokens.size())});
}

// `count` ids in [lowest, end), the same for the same seed.
inline std::vector<int32_t> RandomTokens(int64_t count, int32_t lowest, int32_t end,
                                         unsigned seed) {
  std::mt19937 bits(seed);
  std::uniform_int_distribution<int32_t> uniform(lowest, end - 1);
  std::vector<int32_t> tokens(static_cast<size_t>(count));
  for (int32_t& token : tokens) token = uniform(bits);
  return tokens;
}

// The largest error may be twice that of a plain implementation with f32 arithmetic and results of
// the same dtype, plus a floor of four roundings of the largest element to f32.
inline void ExpectAsGoodAsPlain(const std::vector<float>& got, const std::vector<double>& truth,
                                const std::vector<float>& plain, std::string_view what) {
  ASSERT_EQ(got.size(), truth.size()) << what;
  ASSERT_EQ(plain.size(), truth.size()) << what;
  double error = 0, plain_error = 0, largest = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    ASSERT_TRUE(std::isfinite(got[i])) << what << " at " << i;
    error = std::max(error, std::abs(got[i] - truth[i]));
    plain_error = std::max(plain_error, std::abs(plain[i] - truth[i]));
    largest = std::max(largest, std::abs(truth[i]));
  }
  EXPECT_LE(error, 2 * plain_error + largest * 0x1p-22) << what;
}

inline void ExpectSameBits(const std::vector<float>& got, const std::vector<float>& expected,
                           std::string_view what) {
  ASSERT_EQ(got.size(), expected.size()) << what;
  for (size_t i = 0; i < got.size(); ++i) {
    ASSERT_EQ(std::bit_cast<uint32_t>(got[i]), std::bit_cast<uint32_t>(expected[i]))
        << what << " at " << i << ": " << got[i] << " and " << expected[i];
  }
}

// The tensors that a kernel wrote.
using Results = std::vector<std::vector<float>>;

// What `run`(threads) returns for one thread; two and three threads must return the same bits.
template <class Run>
Results SameForAnyThreads(const Run& run) {
  const Results expected = run(1);
  for (int threads : {2, 3}) {
    const Results got = run(threads);
    for (size_t i = 0; i < got.size(); ++i) {
      ExpectSameBits(got[i], expected[i], threads == 2 ? "2 threads" : "3 threads");
    }
  }
  return expected;
}

// Rows and columns around vector and block sizes; the last ones are several blocks of work.
struct Extents {
  int64_t rows;
  int64_t columns;
};
inline constexpr Extents kExtents[] = {{1, 1},   {3, 17},   {17, 3},    {63, 65},
                                       {64, 64}, {1, 1000}, {1000, 63}, {300, 65}};

}  // namespace annulus::kernels::testing
