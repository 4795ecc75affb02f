// A table that computes on a device what it is given in the host's memory: each call copies its
// tensors there, to memory of just their size, and back. For tests that know nothing of devices.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "kernels/base/kernel_table.h"

namespace annulus::kernels::testing {

class MirrorTable final : public KernelTable {
 public:
  // Calls `prepare` before each call.
  MirrorTable(std::unique_ptr<KernelTable> device, std::function<void()> prepare)
      : device_(std::move(device)), prepare_(std::move(prepare)) {}

  std::string Name() const override { return "mirrored " + device_->Name(); }
  std::vector<KernelChoice> Choices() const override { return device_->Choices(); }

  int64_t MatMulScratchBytes(const MatMulArgs& args) const override {
    return device_->MatMulScratchBytes(args);
  }
  int64_t RmsNormBackwardScratchBytes(const RmsNormBackwardArgs& args) const override {
    return device_->RmsNormBackwardScratchBytes(args);
  }
  int64_t MaskedSoftmaxScratchBytes(const MaskedSoftmaxArgs& args) const override {
    return device_->MaskedSoftmaxScratchBytes(args);
  }

  void MatMul(const MatMulArgs& args, View scratch) override;
  void RmsNorm(const RmsNormArgs& args) override;
  void RmsNormBackward(const RmsNormBackwardArgs& args, View scratch) override;
  void RopeTable(const RopeTableArgs& args) override;
  void Rope(const RopeArgs& args) override;
  void SwiGlu(const SwiGluArgs& args) override;
  void SwiGluBackward(const SwiGluBackwardArgs& args) override;
  void MaskedSoftmax(const MaskedSoftmaxArgs& args, View scratch) override;
  void MaskedSoftmaxBackward(const MaskedSoftmaxBackwardArgs& args) override;
  void Embedding(const EmbeddingArgs& args) override;
  void EmbeddingBackward(const EmbeddingBackwardArgs& args) override;
  void CrossEntropy(const CrossEntropyArgs& args) override;
  void Add(const AddArgs& args) override;
  void Convert(const ConvertArgs& args) override;
  void AdamW(const AdamWArgs& args) override;
  void Zero(View view) override;
  void Copy(ConstView from, View to) override;
  void CopyStrided(const CopyStridedArgs& args) override;
  void CopyFromHost(const void* from, View to) override;
  void CopyToHost(ConstView from, void* to) override;
  double SumOfSquares(ConstView view) override;
  double Sum(ConstView view) override;

  // Attention has cases of its own, for targets of its own (tests/kernels/attention_case.h).
  int64_t AttentionForwardStateBytes(const AttentionProblem&) const override { return Refuse(); }
  int64_t AttentionForwardScratchBytes(const AttentionProblem&, int64_t) const override {
    return Refuse();
  }
  int64_t AttentionBackwardStateBytes(const AttentionProblem&) const override { return Refuse(); }
  int64_t AttentionBackwardScratchBytes(const AttentionProblem&, int64_t) const override {
    return Refuse();
  }
  void AttentionForwardBegin(const AttentionForwardArgs&) override { Refuse(); }
  void AttentionForwardFold(const AttentionForwardArgs&, const KeyBlock&, View) override {
    Refuse();
  }
  void AttentionForwardLast(const AttentionForwardArgs&, const KeyBlock&, const AttentionOutputs&,
                            View) override {
    Refuse();
  }
  void AttentionForwardFinish(const AttentionForwardArgs&, const AttentionOutputs&) override {
    Refuse();
  }
  void AttentionBackwardBegin(const AttentionBackwardArgs&) override { Refuse(); }
  void AttentionBackwardFold(const AttentionBackwardArgs&, const KeyBlock&, const KeyBlockGradient&,
                             View) override {
    Refuse();
  }
  void AttentionBackwardFinish(const AttentionBackwardArgs&, View) override { Refuse(); }

 private:
  static int64_t Refuse() { throw InternalError("attention is not mirrored"); }

  // The device, ready for a call.
  KernelTable& Prepared() {
    prepare_();
    return *device_;
  }

  std::unique_ptr<KernelTable> device_;
  std::function<void()> prepare_;
};

}  // namespace annulus::kernels::testing
