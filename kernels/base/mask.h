// Which queries attend to which keys, as a pure function of global positions.
//
// One mask object serves the ring (to skip steps), the kernel (to skip tiles) and the FLOP counter
// (to count honestly). Positions at or past `length` are padding: such a query attends to nothing
// and no query attends to such a key.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "kernels/base/positions.h"

namespace annulus::kernels {

enum class MaskKind : uint8_t {
  kFull,         // every key
  kCausal,       // keys at or before the query
  kWindow,       // the last `window` keys, the query's own among them
  kDocuments,    // causal, within the query's own document
  kBlockSparse,  // causal, within the blocks that `blocks` selects
};

// The name the option attention.mask gives a kind.
std::string_view NameOf(MaskKind kind);

// A well-mixed 64-bit hash (the finaliser of MurmurHash3, Appleby 2011).
constexpr uint64_t MixBits(uint64_t x) {
  x = (x ^ (x >> 33)) * 0xff51afd7ed558ccdULL;
  x = (x ^ (x >> 33)) * 0xc4ceb9fe1a85ec53ULL;
  return x ^ (x >> 33);
}

// Block-sparse patterns over blocks of `block_tokens` positions (Longformer: window + global;
// BigBird: window + global + random; Sparse Transformer: window + strided). Query block i attends
// to key block j <= i when any of these holds. Causal inside the diagonal block.
struct BlockPattern {
  int64_t block_tokens = 64;
  int64_t window_blocks = 1;  // i - j < window_blocks
  int64_t global_blocks = 0;  // j < global_blocks
  int64_t stride_blocks = 0;  // (i - j) % stride_blocks == 0; 0: none
  int64_t random_blocks = 0;  // about this many of the blocks 0..i, by a hash of (seed, i, j)
  uint64_t seed = 0;

  // constexpr, so that kernels on devices may call it.
  constexpr bool Selects(int64_t query_block, int64_t key_block) const {
    const int64_t distance = query_block - key_block;
    if (distance < 0) return false;
    if (distance < window_blocks || key_block < global_blocks) return true;
    if (stride_blocks > 0 && distance % stride_blocks == 0) return true;
    if (random_blocks <= 0) return false;
    const uint64_t row = MixBits(seed ^ MixBits(static_cast<uint64_t>(query_block) + 1));
    const uint64_t draw = MixBits(row ^ static_cast<uint64_t>(key_block));
    return draw % (static_cast<uint64_t>(query_block) + 1) < static_cast<uint64_t>(random_blocks);
  }
};

// The words that FillBits writes have a bit for each of up to 64 queries: those of the first
// `count`.
inline constexpr uint64_t LowBits(int64_t count) {
  return count >= 64 ? ~uint64_t{0} : (uint64_t{1} << count) - 1;
}

// What a mask says of a block of queries x keys.
enum class Coverage : uint8_t { kSkip, kPartial, kWhole };

struct Mask {
  MaskKind kind = MaskKind::kCausal;
  int64_t length = 0;  // real tokens; the rest is padding
  int64_t window = 0;  // kWindow: >= 1
  // kDocuments: first position of each document, ascending, the first one 0. Must outlive the mask.
  std::span<const int64_t> document_starts = {};
  BlockPattern blocks = {};  // kBlockSparse

  // Keys that `query` may attend to all lie in [first, last]; last < first: none. For every kind
  // but kBlockSparse each key in the range is allowed.
  struct KeyRange {
    int64_t first = 0;
    int64_t last = -1;
  };
  KeyRange Keys(int64_t query) const;

  bool Allows(int64_t query, int64_t key) const;

  // kSkip and kWhole are never wrong; kPartial may be conservative for kBlockSparse only. Constant
  // time but for documents (log), block-sparse (blocks covered) and windows or documents shorter
  // than a stride (tokens).
  Coverage Classify(const PositionRun& queries, const PositionRun& keys) const;

  // Bit i of bits[j]: query i of `queries` may attend to key j of `keys`.
  // Requires queries.count <= 64; writes keys.count words, in O(queries.count + keys.count) time
  // for all but kBlockSparse.
  void FillBits(const PositionRun& queries, const PositionRun& keys, uint64_t* bits) const;

  // Exact count of allowed (query, key) pairs, in O(queries) time for all but kBlockSparse.
  int64_t CountPairs(const Positions& queries, const Positions& keys) const;
};

}  // namespace annulus::kernels
