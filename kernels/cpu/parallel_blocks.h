// Work cut into blocks by its shape alone, so that bits do not depend on the number of threads.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/base/denormals.h"

namespace annulus::kernels::cpu {

// Elements that are worth handing to a thread: about ten microseconds of work.
inline constexpr int64_t kBlockElements = 16384;

// Rows of `width` elements that make a block.
constexpr int64_t BlockRows(int64_t width) {
  return std::max<int64_t>(1, kBlockElements / std::max<int64_t>(1, width));
}

// Calls body(begin, end) for the blocks [0, block), [block, 2 block), ... of [0, count) on up to
// `threads` threads. A single block runs on the caller and opens no parallel region. `body` must
// not throw.
template <class Body>
void ParallelBlocks(int64_t count, int64_t block, int threads, const Body& body) {
  const int64_t blocks = (count + block - 1) / block;
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1 && blocks > 1)
  for (int64_t i = 0; i < blocks; ++i) {
    const FlushDenormals mode;
    body(i * block, std::min(count, (i + 1) * block));
  }
}

}  // namespace annulus::kernels::cpu
