// Token embedding: rows copied forward, rows added backward.
#include <algorithm>
#include <cstring>

#include "kernels/cpu/elementwise.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/embedding.cc"
#include <hwy/foreach_target.h>
// Must come after foreach_target.h.
#include "kernels/cpu/parallel_blocks.h"
#include "kernels/cpu/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace annulus::kernels::cpu {
namespace HWY_NAMESPACE {

template <class T>
void AddToTokensOf(const EmbeddingBackwardArgs& args, int64_t begin, int64_t end) {
  const int64_t rows = args.dout.dim(0), hidden = args.dout.dim(1);
  const auto* tokens = args.tokens.As<int32_t>();
  for (int64_t r = 0; r < rows; ++r) {
    const T* from = args.dout.As<T>() + r * hidden + begin;
    float* to = args.dtable.As<float>() + tokens[r] * hidden + begin;
    ForEach(end - begin, [&](auto d, int64_t i) HWY_ATTR {
      hn::StoreU(hn::Add(hn::LoadU(d, to + i), LoadF32(d, from + i)), d, to + i);
    });
  }
}

// Columns [begin, end) of dtable[token] += dout[row], row after row.
void AddToTokens(const EmbeddingBackwardArgs& args, int64_t begin, int64_t end) {
  args.dout.dtype == DType::kBF16 ? AddToTokensOf<BFloat16>(args, begin, end)
                                  : AddToTokensOf<float>(args, begin, end);
}

}  // namespace HWY_NAMESPACE
}  // namespace annulus::kernels::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace annulus::kernels::cpu {
namespace {

HWY_EXPORT(AddToTokens);

// A token out of range would write anywhere; looking costs nothing beside the rows.
void CheckTokens(const ConstView& view, int64_t vocabulary) {
  const auto* tokens = view.As<int32_t>();
  for (int64_t i = 0; i < view.size(); ++i) {
    Check(tokens[i] >= 0 && tokens[i] < vocabulary, "token {} at {} is outside a vocabulary of {}",
          tokens[i], i, vocabulary);
  }
}

}  // namespace

void Embedding(const EmbeddingArgs& args, int threads) {
  const int64_t rows = args.out.dim(0), hidden = args.out.dim(1);
  CheckTokens(args.tokens, args.table.dim(0));
  const auto* tokens = args.tokens.As<int32_t>();
  const int64_t row_bytes = hidden * SizeOf(args.out.dtype);
  const auto* table = static_cast<const char*>(args.table.data);
  auto* out = static_cast<char*>(args.out.data);
  ParallelBlocks(rows, BlockRows(hidden), threads, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      std::memcpy(out + r * row_bytes, table + tokens[r] * row_bytes,
                  static_cast<size_t>(row_bytes));
    }
  });
}

// Every thread walks all rows over columns of its own, so the order of a sum is that of the rows
// however often a token comes, without a table per thread. Slices are whole cache lines, and no
// narrower than what a row's fixed cost pays for (two slices of 32 columns took twice the time of
// one of 64).
void EmbeddingBackward(const EmbeddingBackwardArgs& args, int threads) {
  constexpr int64_t kLine = 16, kMinColumns = 128;
  CheckTokens(args.tokens, args.dtable.dim(0));
  const int64_t hidden = args.dout.dim(1);
  const int64_t lines = (hidden + threads * kLine - 1) / (threads * kLine);
  const bool small = args.dout.size() <= kBlockElements;
  ParallelBlocks(hidden, std::max(kMinColumns, lines * kLine), small ? 1 : threads,
                 [&](int64_t begin, int64_t end) {
                   HWY_DYNAMIC_DISPATCH(AddToTokens)(args, begin, end);
                 });
}

}  // namespace annulus::kernels::cpu
#endif  // HWY_ONCE
