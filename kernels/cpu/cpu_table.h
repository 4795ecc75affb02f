// The kernel table of CPU cores.
#pragma once

#include "kernels/base/kernel_table.h"
#include "kernels/cpu/gemm.h"

namespace annulus::kernels {

// One rank's table: its calls run on `threads` OpenMP threads and come from one thread at a time.
class CpuTable : public KernelTable {
 public:
  explicit CpuTable(int threads);

  std::string Name() const override;
  std::vector<KernelChoice> Choices() const override;

  int64_t MatMulScratchBytes(const MatMulArgs&) const override;
  int64_t RmsNormBackwardScratchBytes(const RmsNormBackwardArgs&) const override;
  int64_t MaskedSoftmaxScratchBytes(const MaskedSoftmaxArgs&) const override;
  int64_t AttentionForwardStateBytes(const AttentionProblem&) const override;
  int64_t AttentionForwardScratchBytes(const AttentionProblem&, int64_t key_tokens) const override;
  int64_t AttentionBackwardStateBytes(const AttentionProblem&) const override;
  int64_t AttentionBackwardScratchBytes(const AttentionProblem&, int64_t key_tokens) const override;

  void MatMul(const MatMulArgs&, View scratch) override;
  void RmsNorm(const RmsNormArgs&) override;
  void RmsNormBackward(const RmsNormBackwardArgs&, View scratch) override;
  void RopeTable(const RopeTableArgs&) override;
  void Rope(const RopeArgs&) override;
  void SwiGlu(const SwiGluArgs&) override;
  void SwiGluBackward(const SwiGluBackwardArgs&) override;
  void MaskedSoftmax(const MaskedSoftmaxArgs&, View scratch) override;
  void MaskedSoftmaxBackward(const MaskedSoftmaxBackwardArgs&) override;
  void Embedding(const EmbeddingArgs&) override;
  void EmbeddingBackward(const EmbeddingBackwardArgs&) override;
  void CrossEntropy(const CrossEntropyArgs&) override;
  void Add(const AddArgs&) override;
  void Convert(const ConvertArgs&) override;
  void AdamW(const AdamWArgs&) override;
  void AttentionForwardBegin(const AttentionForwardArgs&) override;
  void AttentionForwardFold(const AttentionForwardArgs&, const KeyBlock&, View scratch) override;
  void AttentionForwardLast(const AttentionForwardArgs&, const KeyBlock&, const AttentionOutputs&,
                            View scratch) override;
  void AttentionForwardFinish(const AttentionForwardArgs&, const AttentionOutputs&) override;
  void AttentionBackwardBegin(const AttentionBackwardArgs&) override;
  void AttentionBackwardFold(const AttentionBackwardArgs&, const KeyBlock&, const KeyBlockGradient&,
                             View scratch) override;
  void AttentionBackwardFinish(const AttentionBackwardArgs&, View dq) override;
  void Zero(View) override;
  void Copy(ConstView from, View to) override;
  void CopyStrided(const CopyStridedArgs&) override;
  void CopyFromHost(const void* from, View to) override;
  void CopyToHost(ConstView from, void* to) override;
  double SumOfSquares(ConstView) override;
  double Sum(ConstView) override;

 private:
  int threads_;
  mutable cpu::Gemm gemm_;  // a cache of primitives
};

}  // namespace annulus::kernels
