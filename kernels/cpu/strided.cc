// Copies between strided tensors: 2 elements moved for each copied, 3 for each added.
#include <algorithm>
#include <cstring>

#include "kernels/cpu/elementwise.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/strided.cc"
#include <hwy/foreach_target.h>
// Must come after foreach_target.h.
#include "kernels/cpu/parallel_blocks.h"
#include "kernels/cpu/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace annulus::kernels::cpu {
namespace HWY_NAMESPACE {

void AddRow(const float* x, float* y, int64_t count) {
  ForEach(count, [&](auto d, int64_t i) HWY_ATTR {
    StoreF32(hn::Add(hn::LoadU(d, y + i), hn::LoadU(d, x + i)), d, y + i);
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace annulus::kernels::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace annulus::kernels::cpu {
namespace {

HWY_EXPORT(AddRow);

// A tensor as rows of elements side by side: its trailing dims that lie so in both tensors are one
// row, the dims before them count the rows.
struct Rows {
  Rows(const ConstView& from, const View& to) : outer(to.rank - 1), width(to.dim(outer)) {
    const auto joins = [this](const auto& view) {
      return view.dim(outer - 1) == 1 || view.stride[static_cast<size_t>(outer - 1)] == width;
    };
    while (outer > 0 && joins(from) && joins(to)) width *= to.dim(--outer);
    for (int d = 0; d < outer; ++d) count *= to.dim(d);
  }

  int outer;  // dims before those of a row
  int64_t width;
  int64_t count = 1;
};

// Where row `row` of `view` begins, in elements.
template <class AnyView>
int64_t RowStart(const AnyView& view, const Rows& rows, int64_t row) {
  int64_t start = 0;
  for (int d = rows.outer - 1; d >= 0; --d) {
    start += row % view.dim(d) * view.stride[static_cast<size_t>(d)];
    row /= view.dim(d);
  }
  return start;
}

}  // namespace

void CopyStrided(const CopyStridedArgs& args, int threads) {
  if (args.to.size() == 0) return;
  const Rows rows(args.from, args.to);
  const int64_t element = SizeOf(args.to.dtype), width = rows.width;
  // A few long rows are cut as well, so that there is work for every thread.
  const int64_t pieces = (width + kBlockElements - 1) / kBlockElements;
  const int64_t block = BlockRows(std::min(width, kBlockElements));
  ParallelBlocks(rows.count * pieces, block, threads, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t first = i % pieces * kBlockElements;
      const int64_t count = std::min(kBlockElements, width - first);
      const int64_t from = RowStart(args.from, rows, i / pieces) + first;
      const int64_t to = RowStart(args.to, rows, i / pieces) + first;
      if (args.accumulate) {
        HWY_DYNAMIC_DISPATCH(AddRow)
        (args.from.As<float>() + from, args.to.As<float>() + to, count);
      } else {
        std::memcpy(static_cast<char*>(args.to.data) + to * element,
                    static_cast<const char*>(args.from.data) + from * element,
                    static_cast<size_t>(count * element));
      }
    }
  });
}

}  // namespace annulus::kernels::cpu
#endif  // HWY_ONCE
