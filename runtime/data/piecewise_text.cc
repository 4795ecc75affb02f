#include "runtime/data/piecewise_text.h"

#include <algorithm>

#include "kernels/base/error.h"

namespace annulus::runtime {

void PiecewiseText::Append(std::span<const std::byte> piece) {
  if (piece.empty()) return;
  ends_.push_back(bytes() + static_cast<int64_t>(piece.size()));
  pieces_.push_back(piece);
}

std::span<const int64_t> PiecewiseText::BordersBetween(int64_t begin, int64_t end) const {
  const auto first = std::upper_bound(ends_.begin(), ends_.end(), begin);
  const auto last = std::lower_bound(first, ends_.end(), end);
  return {first, last};
}

int64_t PiecewiseText::MostPieces(int64_t count) const {
  // The stretch that begins with the last byte of a piece reaches as many pieces as any that begins
  // in it.
  size_t most = 1;
  for (const int64_t end : ends_) {
    most = std::max(most, 1 + BordersBetween(end - 1, std::min(end - 1 + count, bytes())).size());
  }
  return static_cast<int64_t>(most);
}

void PiecewiseText::Gather(int64_t begin, int64_t stride, int64_t count, int32_t* out) const {
  if (count == 0) return;
  Check(begin >= 0 && stride >= 1 && begin + (count - 1) * stride < bytes(),
        "{} bytes from {} on, {} apart, of a text of {}", count, begin, stride, bytes());
  while (count > 0) {
    const auto end = std::upper_bound(ends_.begin(), ends_.end(), begin);
    const auto& piece = pieces_[static_cast<size_t>(end - ends_.begin())];
    const int64_t left = *end - begin;
    const int64_t here = std::min(count, (left + stride - 1) / stride);
    const std::byte* from = piece.data() + (static_cast<int64_t>(piece.size()) - left);
    for (int64_t i = 0; i < here; ++i) out[i] = std::to_integer<int32_t>(from[i * stride]);
    out += here;
    begin += here * stride;
    count -= here;
  }
}

}  // namespace annulus::runtime
