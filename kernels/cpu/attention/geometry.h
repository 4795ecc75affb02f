// How one attention is cut into strips of queries and tiles of keys, and where its state lies.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/base/denormals.h"
#include "kernels/base/ops.h"
#include "kernels/cpu/attention/tiles.h"

namespace annulus::kernels::cpu {

// Consecutive tokens of one run, and the index of the first among all local tokens.
struct PositionTile {
  PositionRun run;
  int64_t token = 0;
};

// Positions cut into tiles of at most `size` tokens; none crosses a run.
class PositionTiles {
 public:
  PositionTiles(const Positions& positions, int64_t size) : positions_(positions), size_(size) {}

  int64_t count() const {
    int64_t tiles = 0;
    for (int r = 0; r < positions_.runs(); ++r) tiles += TilesOf(r);
    return tiles;
  }

  PositionTile at(int64_t i) const {
    int64_t token = 0;
    int r = 0;
    for (; i >= TilesOf(r); ++r) {
      i -= TilesOf(r);
      token += positions_.run(r).count;
    }
    const PositionRun& run = positions_.run(r);
    return {run.Sub(i * size_, std::min(size_, run.count - i * size_)), token + i * size_};
  }

 private:
  int64_t TilesOf(int r) const { return (positions_.run(r).count + size_ - 1) / size_; }

  const Positions& positions_;
  int64_t size_;
};

// Calls visit(KeySpan) for the maximal spans of keys of a tile that some query of the strip may
// attend to, in ascending order. `bits` is scratch, one word per key.
template <class Visit>
void ForEachKeySpan(const Mask& mask, const PositionRun& queries, const PositionRun& keys,
                    uint64_t* bits, int64_t panel_rows, Visit visit) {
  switch (mask.Classify(queries, keys)) {
    case Coverage::kSkip:
      return;
    case Coverage::kWhole:
      visit(KeySpan{0, keys.count, panel_rows, nullptr});
      return;
    case Coverage::kPartial:
      break;
  }
  mask.FillBits(queries, keys, bits);
  for (int64_t begin = 0, end = 0; begin < keys.count; begin = end) {
    while (begin < keys.count && bits[begin] == 0) ++begin;
    for (end = begin; end < keys.count && bits[end] != 0;) ++end;
    if (begin < end) visit(KeySpan{begin, end, panel_rows, bits});
  }
}

// Hands out 64-byte aligned pieces of the caller's memory; over a null base it only measures.
class Carver {
 public:
  explicit Carver(void* base) : base_(static_cast<char*>(base)) {}

  template <class T>
  T* Take(int64_t count) {
    char* piece = base_ == nullptr ? nullptr : base_ + bytes_;
    bytes_ += (count * static_cast<int64_t>(sizeof(T)) + 63) / 64 * 64;
    return reinterpret_cast<T*>(piece);
  }
  int64_t bytes() const { return bytes_; }

 private:
  char* base_;
  int64_t bytes_ = 0;
};

// The sizes that forward and backward share.
struct Geometry {
  explicit Geometry(const AttentionProblem& p)
      : dim(p.head_dim),
        heads(p.heads),
        kv_heads(p.kv_heads),
        group(p.heads / p.kv_heads),
        tokens(p.query_tokens()),
        strips(PositionTiles(p.queries, kStripQueries).count()),
        all_strips(p.batch * p.heads * strips) {}

  // The strips of all heads of all sequences, one after the other.
  int64_t Strip(int64_t batch, int64_t head, int64_t strip) const {
    return (batch * heads + head) * strips + strip;
  }

  // Rows of one head in a tensor [B,tokens,heads,D], from `token` on.
  static Rows HeadRows(const ConstView& x, int64_t batch, int64_t head, const PositionTile& tile) {
    return {static_cast<const char*>(x.data) + HeadOffset(x, batch, head, tile), ElementOf(x),
            x.dim(2) * x.dim(3), tile.run.count, x.dim(3)};
  }
  static MutableRows HeadRows(const View& x, int64_t batch, int64_t head,
                              const PositionTile& tile) {
    return {static_cast<char*>(x.data) + HeadOffset(x, batch, head, tile), ElementOf(x),
            x.dim(2) * x.dim(3), tile.run.count, x.dim(3)};
  }

  int64_t dim, heads, kv_heads, group, tokens, strips, all_strips;

 private:
  static Element ElementOf(const ConstView& x) {
    Check(x.dtype == DType::kF32 || x.dtype == DType::kBF16, "attention over {}", x.ToString());
    return x.dtype == DType::kF32 ? Element::kF32 : Element::kBF16;
  }
  // In bytes.
  static int64_t HeadOffset(const ConstView& x, int64_t batch, int64_t head,
                            const PositionTile& tile) {
    return ((batch * x.dim(1) + tile.token) * x.dim(2) + head) * x.dim(3) * SizeOf(x.dtype);
  }
};

// Calls visit(batch, head, strip) for every strip, from a team of `threads`.
template <class Visit>
void ForEachStrip(const Geometry& g, int threads, Visit visit) {
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t i = 0; i < g.all_strips; ++i) {
    const FlushDenormals mode;
    const int64_t head = i / g.strips;
    visit(head / g.heads, head % g.heads, i % g.strips);
  }
}

}  // namespace annulus::kernels::cpu
