// The table that does no work: a step run against it allocates nothing real, computes nothing, and
// is counted like any other. Scratch is what the modelled table would ask for, and a call takes the
// time that the clock's rates give it.
#pragma once

#include "kernels/base/dry_clock.h"
#include "kernels/base/kernel_table.h"

namespace annulus::kernels {

class DryTable final : public KernelTable {
 public:
  // `modelled` must outlive this; only its pure queries are called. So must `clock`, where one is
  // given.
  explicit DryTable(const KernelTable& modelled, DryClock* clock = nullptr)
      : modelled_(modelled), clock_(clock) {}

  std::string Name() const override { return "dry " + modelled_.Name(); }
  std::vector<KernelChoice> Choices() const override { return modelled_.Choices(); }

  void Account(const CallCost& cost) override {
    if (clock_ != nullptr) clock_->Compute(cost);
  }

  int64_t MatMulScratchBytes(const MatMulArgs& args) const override {
    return modelled_.MatMulScratchBytes(args);
  }
  int64_t RmsNormBackwardScratchBytes(const RmsNormBackwardArgs& args) const override {
    return modelled_.RmsNormBackwardScratchBytes(args);
  }
  int64_t MaskedSoftmaxScratchBytes(const MaskedSoftmaxArgs& args) const override {
    return modelled_.MaskedSoftmaxScratchBytes(args);
  }
  int64_t AttentionForwardStateBytes(const AttentionProblem& problem) const override {
    return modelled_.AttentionForwardStateBytes(problem);
  }
  int64_t AttentionForwardScratchBytes(const AttentionProblem& problem,
                                       int64_t key_tokens) const override {
    return modelled_.AttentionForwardScratchBytes(problem, key_tokens);
  }
  int64_t AttentionBackwardStateBytes(const AttentionProblem& problem) const override {
    return modelled_.AttentionBackwardStateBytes(problem);
  }
  int64_t AttentionBackwardScratchBytes(const AttentionProblem& problem,
                                        int64_t key_tokens) const override {
    return modelled_.AttentionBackwardScratchBytes(problem, key_tokens);
  }

  void MatMul(const MatMulArgs&, View) override {}
  void RmsNorm(const RmsNormArgs&) override {}
  void RmsNormBackward(const RmsNormBackwardArgs&, View) override {}
  void RopeTable(const RopeTableArgs&) override {}
  void Rope(const RopeArgs&) override {}
  void SwiGlu(const SwiGluArgs&) override {}
  void SwiGluBackward(const SwiGluBackwardArgs&) override {}
  void MaskedSoftmax(const MaskedSoftmaxArgs&, View) override {}
  void MaskedSoftmaxBackward(const MaskedSoftmaxBackwardArgs&) override {}
  void Embedding(const EmbeddingArgs&) override {}
  void EmbeddingBackward(const EmbeddingBackwardArgs&) override {}
  void CrossEntropy(const CrossEntropyArgs&) override {}
  void Add(const AddArgs&) override {}
  void Convert(const ConvertArgs&) override {}
  void AdamW(const AdamWArgs&) override {}
  void AttentionForwardBegin(const AttentionForwardArgs&) override {}
  void AttentionForwardFold(const AttentionForwardArgs&, const KeyBlock&, View) override {}
  void AttentionForwardLast(const AttentionForwardArgs&, const KeyBlock&, const AttentionOutputs&,
                            View) override {}
  void AttentionForwardFinish(const AttentionForwardArgs&, const AttentionOutputs&) override {}
  void AttentionBackwardBegin(const AttentionBackwardArgs&) override {}
  void AttentionBackwardFold(const AttentionBackwardArgs&, const KeyBlock&, const KeyBlockGradient&,
                             View) override {}
  void AttentionBackwardFinish(const AttentionBackwardArgs&, View) override {}
  void Zero(View) override {}
  void Copy(ConstView, View) override {}
  void CopyStrided(const CopyStridedArgs&) override {}
  void CopyFromHost(const void*, View) override {}
  void CopyToHost(ConstView, void*) override {}
  double SumOfSquares(ConstView) override { return 0; }
  double Sum(ConstView) override { return 0; }

 private:
  const KernelTable& modelled_;
  DryClock* clock_;
};

}  // namespace annulus::kernels
