#include "tests/kernels/attention_fixture.h"

#include <gtest/gtest.h>

#include <cstring>
#include <deque>

#include "kernels/cpu/attention/fused_attention.h"

namespace annulus::kernels::cpu {
namespace {

// Memory of exactly the bytes asked for, so that a sanitizer sees the first byte too many.
class Memory {
 public:
  explicit Memory(int64_t bytes)
      : data_(::operator new (static_cast<size_t>(bytes), std::align_val_t{64})) {}
  ~Memory() { ::operator delete (data_, std::align_val_t{64}); }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  void* data() const { return data_; }

 private:
  void* data_;
};

class CoresTarget final : public AttentionTarget {
 public:
  explicit CoresTarget(const FusedAttention& fused) : fused_(fused) {}

  void* Allocate(int64_t bytes) override { return memory_.emplace_back(bytes).data(); }
  void Upload(const void* from, void* to, int64_t bytes) override { Move(from, to, bytes); }
  void Download(const void* from, void* to, int64_t bytes) override { Move(from, to, bytes); }

  int64_t ForwardStateBytes(const AttentionProblem& p) const override {
    return fused_.ForwardStateBytes(p);
  }
  int64_t ForwardScratchBytes(const AttentionProblem& p, int64_t keys) const override {
    return fused_.ForwardScratchBytes(p, keys);
  }
  void ForwardBegin(const AttentionForwardArgs& args) override { fused_.ForwardBegin(args); }
  void ForwardFold(const AttentionForwardArgs& args, const KeyBlock& block, View scratch) override {
    fused_.ForwardFold(args, block, scratch);
  }
  void ForwardLast(const AttentionForwardArgs& args, const KeyBlock& block,
                   const AttentionOutputs& outputs, View scratch) override {
    fused_.ForwardLast(args, block, outputs, scratch);
  }
  void ForwardFinish(const AttentionForwardArgs& args, const AttentionOutputs& outputs) override {
    fused_.ForwardFinish(args, outputs);
  }

  int64_t BackwardStateBytes(const AttentionProblem& p) const override {
    return fused_.BackwardStateBytes(p);
  }
  int64_t BackwardScratchBytes(const AttentionProblem& p, int64_t keys) const override {
    return fused_.BackwardScratchBytes(p, keys);
  }
  void BackwardBegin(const AttentionBackwardArgs& args) override { fused_.BackwardBegin(args); }
  void BackwardFold(const AttentionBackwardArgs& args, const KeyBlock& block,
                    const KeyBlockGradient& gradient, View scratch) override {
    fused_.BackwardFold(args, block, gradient, scratch);
  }
  void BackwardFinish(const AttentionBackwardArgs& args, View dq) override {
    fused_.BackwardFinish(args, dq);
  }

 private:
  static void Move(const void* from, void* to, int64_t bytes) {
    if (bytes > 0) std::memcpy(to, from, static_cast<size_t>(bytes));
  }

  FusedAttention fused_;
  std::deque<Memory> memory_;
};

}  // namespace

AttentionResult RunFused(const AttentionCase& c, const TileKernels& tiles, int threads,
                         const CacheSizes& caches) {
  CoresTarget target(FusedAttention(tiles, threads, caches));
  return RunAttention(c, target);
}

void ExpectAccurate(const AttentionCase& c, const Tolerance& tolerance, const CacheSizes& caches) {
  const AttentionTruth truth(c);
  for (const TileKernels* tiles : RunnableTileKernels(c.inputs.problem.dtype)) {
    SCOPED_TRACE(tiles->isa);
    const AttentionResult fused = RunFused(c, *tiles, 1, caches);
    truth.Expect(fused, tolerance);
    for (int threads : {2, 3}) ExpectSameBits(fused, RunFused(c, *tiles, threads, caches));
  }
}

}  // namespace annulus::kernels::cpu
