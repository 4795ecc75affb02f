// A text that lies in pieces (files), addressed as their concatenation.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace annulus::runtime {

// Does not own the pieces. Const members may be called from several threads at once.
class PiecewiseText {
 public:
  void Append(std::span<const std::byte> piece);

  int64_t bytes() const { return ends_.empty() ? 0 : ends_.back(); }

  // Where pieces begin in (begin, end), ascending; bytes() counts as a beginning too. By binary
  // search.
  std::span<const int64_t> BordersBetween(int64_t begin, int64_t end) const;

  // The most pieces that `count` bytes in a row can lie in. Time in the number of pieces.
  int64_t MostPieces(int64_t count) const;

  // out[i] = the byte at begin + i * stride, for i < count. Requires stride >= 1 and that all of
  // them exist. Finds a piece by binary search, once per piece touched.
  void Gather(int64_t begin, int64_t stride, int64_t count, int32_t* out) const;

 private:
  std::vector<std::span<const std::byte>> pieces_;
  std::vector<int64_t> ends_;  // where each piece ends in the whole
};

}  // namespace annulus::runtime
