// The kernel table of CUDA devices: one stream, on which every call but the few that return numbers
// to the host only puts work.
#pragma once

#include <memory>

#include "kernels/base/kernel_table.h"
#include "kernels/cuda/cuda_table.h"

namespace annulus::kernels::cuda {

class CudaKernelTable final : public KernelTable {
 public:
  // Without a device: for plans.
  CudaKernelTable();
  // On the current device.
  explicit CudaKernelTable(const CudaTableOptions& options);
  ~CudaKernelTable() override;

  std::string Name() const override;
  std::vector<KernelChoice> Choices() const override;

  int64_t MatMulScratchBytes(const MatMulArgs& args) const override;
  int64_t RmsNormBackwardScratchBytes(const RmsNormBackwardArgs& args) const override;
  int64_t MaskedSoftmaxScratchBytes(const MaskedSoftmaxArgs& args) const override;
  int64_t AttentionForwardStateBytes(const AttentionProblem& problem) const override;
  int64_t AttentionForwardScratchBytes(const AttentionProblem& problem,
                                       int64_t key_tokens) const override;
  int64_t AttentionBackwardStateBytes(const AttentionProblem& problem) const override;
  int64_t AttentionBackwardScratchBytes(const AttentionProblem& problem,
                                        int64_t key_tokens) const override;

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
  void AttentionForwardBegin(const AttentionForwardArgs& args) override;
  void AttentionForwardFold(const AttentionForwardArgs& args, const KeyBlock& block,
                            View scratch) override;
  void AttentionForwardLast(const AttentionForwardArgs& args, const KeyBlock& block,
                            const AttentionOutputs& outputs, View scratch) override;
  void AttentionForwardFinish(const AttentionForwardArgs& args,
                              const AttentionOutputs& outputs) override;
  void AttentionBackwardBegin(const AttentionBackwardArgs& args) override;
  void AttentionBackwardFold(const AttentionBackwardArgs& args, const KeyBlock& block,
                             const KeyBlockGradient& gradient, View scratch) override;
  void AttentionBackwardFinish(const AttentionBackwardArgs& args, View dq) override;
  void Zero(View view) override;
  void Copy(ConstView from, View to) override;
  void CopyStrided(const CopyStridedArgs& args) override;
  void CopyFromHost(const void* from, View to) override;
  void CopyToHost(ConstView from, void* to) override;
  OwnedMemory ReserveTensorMemory(int64_t bytes) override;
  DeviceMemoryUse ReadMemoryUse() const override;
  OwnedMemory AllocateHost(int64_t bytes) override;
  void Wait() override;
  bool Idle() override;
  double SumOfSquares(ConstView view) override;
  double Sum(ConstView view) override;

  // Null without a device.
  CUstream_st* stream() const;

 private:
  struct Device;
  // The device, where there is one. Throws InternalError where there is none.
  Device& device() const;

  std::unique_ptr<Device> device_;
};

}  // namespace annulus::kernels::cuda
