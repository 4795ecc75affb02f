// Fused attention on a chosen instruction set: the drivers that walk strips, tiles, heads and
// threads around the arithmetic of tiles.h. Contracts are those of KernelTable's methods.
//
// Forward: threads take strips of queries. Backward: threads take tiles of keys, with dK and dV of
// the tile to themselves; a strip's dQ takes the tiles in ascending order, whoever computes them,
// so that bits depend on nothing but the problem, the instruction set and the cache sizes.
#pragma once

#include <cstdint>

#include "kernels/base/ops.h"
#include "kernels/cpu/attention/tile_sizes.h"
#include "kernels/cpu/attention/tiles.h"

namespace annulus::kernels::cpu {

// What an attention runs on.
struct AttentionMachine {
  const TileKernels& tiles;
  int threads;
  CacheSizes caches;  // that tiles are cut to fit
};

class FusedAttention {
 public:
  // `tiles` must outlive this; threads >= 1.
  FusedAttention(const TileKernels& tiles, int threads,
                 const CacheSizes& caches = ThisCoresCaches())
      : machine_{tiles, threads, caches} {}

  // State: T * D f32 per head, the running output, and two more for every query.
  int64_t ForwardStateBytes(const AttentionProblem& problem) const;
  int64_t ForwardScratchBytes(const AttentionProblem& problem, int64_t key_tokens) const;
  void ForwardBegin(const AttentionForwardArgs& args) const;
  void ForwardFold(const AttentionForwardArgs& args, const KeyBlock& block, View scratch) const;
  void ForwardLast(const AttentionForwardArgs& args, const KeyBlock& block,
                   const AttentionOutputs& outputs, View scratch) const;
  void ForwardFinish(const AttentionForwardArgs& args, const AttentionOutputs& outputs) const;

  // State: T * D f32 per head, the running dq, and two more for every query.
  int64_t BackwardStateBytes(const AttentionProblem& problem) const;
  int64_t BackwardScratchBytes(const AttentionProblem& problem, int64_t key_tokens) const;
  void BackwardBegin(const AttentionBackwardArgs& args) const;
  void BackwardFold(const AttentionBackwardArgs& args, const KeyBlock& block,
                    const KeyBlockGradient& gradient, View scratch) const;
  void BackwardFinish(const AttentionBackwardArgs& args, View dq) const;

 private:
  AttentionMachine machine_;
};

}  // namespace annulus::kernels::cpu
