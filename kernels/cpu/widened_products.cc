// Blocks of at most kBlockRows x kBlockColumns results and kBlockDepth terms, whose operands stay
// in a core's second-level cache: each a and b block is read as bf16, written and read as f32.
// 2*M*N*K FLOPs; a is widened once for every kBlockColumns columns of c, b once for every block of
// rows where the sum has more than kBlockDepth terms, else once.
#include "kernels/cpu/widened_products.h"

#include <algorithm>

#include "kernels/cpu/elementwise.h"

namespace annulus::kernels::cpu {
namespace {

constexpr int64_t kBlockElements = int64_t{1} << 18;
constexpr int64_t kBlockColumns = 256;
constexpr int64_t kBlockDepth = 1024;
constexpr int64_t kAlignment = 64;

struct Blocks {
  int64_t rows, columns, depth;
};

Blocks BlocksOf(const MatMulArgs& args) {
  const int64_t columns = std::min(args.c.dim(1), kBlockColumns);
  const int64_t depth = std::min(args.a.dim(1), kBlockDepth);
  // Whole vectors of rows; the least is kBlockElements / kBlockDepth.
  const int64_t rows = kBlockElements / std::max(columns, depth) / kAlignment * kAlignment;
  return {std::min(args.c.dim(0), rows), columns, depth};
}

int64_t FloatBytes(int64_t rows, int64_t columns) {
  const int64_t bytes = rows * columns * SizeOf(DType::kF32);
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

// Calls body(begin, count) for each block of [0, extent).
template <class Body>
void ForEachBlock(int64_t extent, int64_t block, const Body& body) {
  for (int64_t begin = 0; begin < extent; begin += block) {
    body(begin, std::min(block, extent - begin));
  }
}

template <class AnyView>
AnyView InMemoryOrder(const AnyView& view) {
  return IsRowMajor(view) ? view : view.Transposed();
}

// The f32 form of a block, elements in the order of the block's memory.
View F32Like(const ConstView& block, void* memory) {
  const ConstView rows = InMemoryOrder(block);
  const View wide(memory, DType::kF32, {rows.dim(0), rows.dim(1)});
  return IsRowMajor(block) ? wide : wide.Transposed();
}

// Whether blocks of c are summed apart and stored when they are complete: to be rounded, and
// because oneDNN's sums of a row have other bits where c has a stride of more than its columns.
bool SumsApart(const MatMulArgs& args, const Blocks& blocks) {
  return args.c.dtype != DType::kF32 || blocks.columns < args.c.dim(1);
}

// A block of an operand, widened unless it is the one that is there already.
class WidenedBlock {
 public:
  WidenedBlock(void* memory, int threads) : memory_(memory), threads_(threads) {}

  View Hold(const ConstView& block) {
    const View wide = F32Like(block, memory_);
    if (block.data != held_.data || block.shape != held_.shape) {
      Convert(InMemoryOrder(block), InMemoryOrder(wide), threads_);
      held_ = block;
    }
    return wide;
  }

 private:
  void* memory_;
  int threads_;
  ConstView held_;
};

}  // namespace

int64_t WidenedProducts::ScratchBytes(const MatMulArgs& args) {
  const Blocks blocks = BlocksOf(args);
  int64_t f32_bytes = 0;
  const auto measure = [&](int64_t rows, int64_t columns, int64_t depth) {
    if (rows == 0 || columns == 0 || depth == 0) return;
    const View c = args.c.Slice(0, 0, rows).Slice(1, 0, columns);
    const View sums = SumsApart(args, blocks) ? F32Like(c, nullptr) : c;
    const View a = F32Like(args.a.Slice(0, 0, rows).Slice(1, 0, depth), nullptr);
    const View b = F32Like(args.b.Slice(0, 0, depth).Slice(1, 0, columns), nullptr);
    for (bool accumulate : {false, true}) {
      f32_bytes = std::max(f32_bytes, f32_.ScratchBytes({a, b, sums, accumulate}));
    }
  };
  for (int64_t rows : {blocks.rows, args.c.dim(0) % blocks.rows}) {
    for (int64_t columns : {blocks.columns, args.c.dim(1) % blocks.columns}) {
      for (int64_t depth : {blocks.depth, args.a.dim(1) % blocks.depth}) {
        measure(rows, columns, depth);
      }
    }
  }
  const int64_t sums_bytes = SumsApart(args, blocks) ? FloatBytes(blocks.rows, blocks.columns) : 0;
  return FloatBytes(blocks.rows, blocks.depth) + FloatBytes(blocks.depth, blocks.columns) +
         sums_bytes + f32_bytes;
}

void WidenedProducts::MatMul(const MatMulArgs& args, View scratch) {
  const int64_t needed = ScratchBytes(args);
  Check(scratch.size_bytes() >= needed, "matmul scratch of {} bytes, {} needed",
        scratch.size_bytes(), needed);
  const Blocks blocks = BlocksOf(args);
  auto* memory = static_cast<std::byte*>(scratch.data);
  const auto take = [&](int64_t bytes) {
    void* const taken = memory;
    memory += bytes;
    return taken;
  };
  WidenedBlock a(take(FloatBytes(blocks.rows, blocks.depth)), threads_);
  WidenedBlock b(take(FloatBytes(blocks.depth, blocks.columns)), threads_);
  const bool apart = SumsApart(args, blocks);
  void* const sums_memory = apart ? take(FloatBytes(blocks.rows, blocks.columns)) : nullptr;
  const auto* end = static_cast<std::byte*>(scratch.data) + scratch.size_bytes();
  const View rest(memory, DType::kByte, {end - memory});

  ForEachBlock(args.c.dim(1), blocks.columns, [&](int64_t column, int64_t columns) {
    ForEachBlock(args.c.dim(0), blocks.rows, [&](int64_t row, int64_t rows) {
      const View c = args.c.Slice(0, row, rows).Slice(1, column, columns);
      const View sums = apart ? F32Like(c, sums_memory) : c;
      if (apart && args.accumulate) Convert(c, sums, threads_);
      ForEachBlock(args.a.dim(1), blocks.depth, [&](int64_t begin, int64_t depth) {
        f32_.MatMul({a.Hold(args.a.Slice(0, row, rows).Slice(1, begin, depth)),
                     b.Hold(args.b.Slice(0, begin, depth).Slice(1, column, columns)), sums,
                     args.accumulate || begin > 0},
                    rest);
      });
      if (apart) Convert(sums, c, threads_);
    });
  });
}

}  // namespace annulus::kernels::cpu
