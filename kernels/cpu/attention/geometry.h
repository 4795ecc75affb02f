// How one attention is cut into strips of queries and tiles of keys, and where its state lies.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/base/denormals.h"
#include "kernels/base/ops.h"
#include "kernels/cpu/attention/tile_sizes.h"
#include "kernels/cpu/attention/tiles.h"

namespace annulus::kernels::cpu {

// Consecutive tokens of one run, and the index of the first among all local tokens.
struct PositionTile {
  PositionRun run;
  int64_t token = 0;

  // Those of its tokens [begin, end) that exist.
  PositionTile Sub(int64_t begin, int64_t end) const {
    return {run.Sub(begin, std::min(end, run.count) - begin), token + begin};
  }
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

// The room that a tile of keys has, and what its spans must be multiples of.
struct KeyTile {
  int64_t keys;
  int64_t multiple;
  uint64_t* bits;  // [keys]
};

// Calls visit(KeySpan) for the maximal spans of keys of a tile that some query of the strip may
// attend to, in ascending order.
template <class Visit>
void ForEachKeySpan(const Mask& mask, const PositionRun& queries, const PositionRun& keys,
                    const KeyTile& tile, Visit visit) {
  const int64_t step = tile.multiple, end = (keys.count + step - 1) / step * step;
  uint64_t* bits = tile.bits;
  switch (mask.Classify(queries, keys)) {
    case Coverage::kSkip:
      return;
    case Coverage::kWhole:
      if (end == keys.count) return visit(KeySpan{0, end, tile.keys, nullptr});
      std::fill_n(bits, keys.count, ~uint64_t{0});
      break;
    case Coverage::kPartial:
      mask.FillBits(queries, keys, bits);
      break;
  }
  std::fill(bits + keys.count, bits + end, uint64_t{0});
  const uint64_t strip = LowBits(queries.count);
  for (int64_t key = 0; key < end;) {
    const int64_t begin = key;
    uint64_t all = strip;
    for (; key < end; key += step) {
      uint64_t any = 0;
      for (int64_t i = key; i < key + step; ++i) any |= bits[i];
      if (any == 0) break;
      for (int64_t i = key; i < key + step; ++i) all &= bits[i];
    }
    if (key > begin) {
      visit(KeySpan{begin, key, tile.keys, all == strip ? nullptr : bits});
    } else {
      key += step;
    }
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

// Accumulators and rows of gradients are padded to the widest vector of any instruction set.
inline constexpr int64_t kMaxWidth = 16;
constexpr int64_t PaddedDim(int64_t dim) { return (dim + kMaxWidth - 1) / kMaxWidth * kMaxWidth; }

// The sizes that forward and backward share. Packed operands are counted in 32-bit words.
struct Geometry {
  Geometry(const AttentionProblem& p, const TileKernels& tiles, const CacheSizes& core_caches)
      : caches(core_caches),
        dim(p.head_dim),
        padded_dim(PaddedDim(p.head_dim)),
        elements_per_word(tiles.operand == Element::kF32 ? 1 : 2),
        dim_words((dim + tiles.dim_multiple - 1) / tiles.dim_multiple * tiles.dim_multiple /
                  elements_per_word),
        key_multiple(tiles.key_multiple),
        heads(p.heads),
        kv_heads(p.kv_heads),
        group(p.heads / p.kv_heads),
        tokens(p.query_tokens()),
        strips(PositionTiles(p.queries, kStripQueries).count()),
        all_strips(p.batch * p.heads * strips) {}

  TileSizes Tiles(int64_t key_tokens) const {
    return ChooseTileSizes(
        caches,
        {.head_dim = dim, .operand_bytes = 4 / elements_per_word, .key_tokens = key_tokens});
  }
  // Of a tile's panels, whatever their order.
  int64_t PanelWords(int64_t keys) const { return keys / elements_per_word * padded_dim; }

  // The strips of all heads of all sequences, one after the other.
  int64_t Strip(int64_t batch, int64_t head, int64_t strip) const {
    return (batch * heads + head) * strips + strip;
  }

  // Rows of one head in a tensor [B,tokens,heads,D], each sequence contiguous, from `token` on.
  static Rows HeadRows(const ConstView& x, int64_t batch, int64_t head, const PositionTile& tile) {
    return {static_cast<const char*>(x.data) + HeadOffset(x, batch, head, tile), ElementOf(x),
            x.dim(2) * x.dim(3), tile.run.count, x.dim(3)};
  }
  static MutableRows HeadRows(const View& x, int64_t batch, int64_t head,
                              const PositionTile& tile) {
    return {static_cast<char*>(x.data) + HeadOffset(x, batch, head, tile), ElementOf(x),
            x.dim(2) * x.dim(3), tile.run.count, x.dim(3)};
  }

  CacheSizes caches;
  int64_t dim, padded_dim, elements_per_word, dim_words, key_multiple;
  int64_t heads, kv_heads, group, tokens, strips, all_strips;

 private:
  static Element ElementOf(const ConstView& x) {
    Check(x.dtype == DType::kF32 || x.dtype == DType::kBF16, "attention over {}", x.ToString());
    return x.dtype == DType::kF32 ? Element::kF32 : Element::kBF16;
  }
  // In bytes.
  static int64_t HeadOffset(const ConstView& x, int64_t batch, int64_t head,
                            const PositionTile& tile) {
    return (batch * x.stride[0] + (tile.token * x.dim(2) + head) * x.dim(3)) * SizeOf(x.dtype);
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
