#include "kernels/cpu/cpu_table.h"

#include <cstring>

#include "kernels/cpu/attention/attention.h"
#include "kernels/cpu/elementwise.h"
#include "kernels/cpu/onednn_products.h"
#include "kernels/cpu/softmax.h"

namespace annulus::kernels {

CpuTable::CpuTable(int threads) : threads_(threads), gemm_(threads) {}

std::string CpuTable::Name() const {
  return fmt::format("cpu, {} thread{}", threads_, threads_ == 1 ? "" : "s");
}

std::vector<KernelChoice> CpuTable::Choices() const {
  return {
      {"f32 attention", "fused, " + cpu::AttentionIsa(DType::kF32), "widest vectors this CPU has"},
      {"bf16 attention", "fused, " + cpu::AttentionIsa(DType::kBF16),
       "fastest on bf16 that this CPU has"},
      {"f32 products", cpu::Gemm::Describe(DType::kF32),
       cpu::OneDnnProducts::KeepsBits()
           ? "its bits do not change when rows are split"
           : "the only one here; bits may change with threads and with how rows are split"},
      {"bf16 products", cpu::Gemm::Describe(DType::kBF16), cpu::ChooseBf16Products().reason},
      {"elementwise", "Highway, " + cpu::ElementwiseIsa(), "widest vectors this CPU has"}};
}

int64_t CpuTable::MatMulScratchBytes(const MatMulArgs& args) const {
  return gemm_.ScratchBytes(args);
}
int64_t CpuTable::RmsNormBackwardScratchBytes(const RmsNormBackwardArgs& args) const {
  return cpu::RmsNormBackwardScratchBytes(args);
}
int64_t CpuTable::MaskedSoftmaxScratchBytes(const MaskedSoftmaxArgs&) const { return 0; }
int64_t CpuTable::AttentionForwardStateBytes(const AttentionProblem& problem) const {
  return cpu::AttentionForwardStateBytes(problem);
}
int64_t CpuTable::AttentionForwardScratchBytes(const AttentionProblem& problem,
                                               int64_t key_tokens) const {
  return cpu::AttentionForwardScratchBytes(problem, key_tokens, threads_);
}
int64_t CpuTable::AttentionBackwardStateBytes(const AttentionProblem& problem) const {
  return cpu::AttentionBackwardStateBytes(problem);
}
int64_t CpuTable::AttentionBackwardScratchBytes(const AttentionProblem& problem,
                                                int64_t key_tokens) const {
  return cpu::AttentionBackwardScratchBytes(problem, key_tokens, threads_);
}

void CpuTable::MatMul(const MatMulArgs& args, View scratch) { gemm_.MatMul(args, scratch); }
void CpuTable::RmsNorm(const RmsNormArgs& args) { cpu::RmsNorm(args, threads_); }
void CpuTable::RmsNormBackward(const RmsNormBackwardArgs& args, View scratch) {
  cpu::RmsNormBackward(args, scratch, threads_);
}
void CpuTable::RopeTable(const RopeTableArgs& args) { cpu::RopeTable(args, threads_); }
void CpuTable::Rope(const RopeArgs& args) { cpu::Rope(args, threads_); }
void CpuTable::SwiGlu(const SwiGluArgs& args) { cpu::SwiGlu(args, threads_); }
void CpuTable::SwiGluBackward(const SwiGluBackwardArgs& args) {
  cpu::SwiGluBackward(args, threads_);
}
void CpuTable::MaskedSoftmax(const MaskedSoftmaxArgs& args, View) {
  cpu::MaskedSoftmax(args, threads_);
}
void CpuTable::MaskedSoftmaxBackward(const MaskedSoftmaxBackwardArgs& args) {
  cpu::MaskedSoftmaxBackward(args, threads_);
}
void CpuTable::Embedding(const EmbeddingArgs& args) { cpu::Embedding(args, threads_); }
void CpuTable::EmbeddingBackward(const EmbeddingBackwardArgs& args) {
  cpu::EmbeddingBackward(args, threads_);
}
void CpuTable::CrossEntropy(const CrossEntropyArgs& args) { cpu::CrossEntropy(args, threads_); }
void CpuTable::Add(const AddArgs& args) { cpu::Add(args, threads_); }
void CpuTable::Convert(const ConvertArgs& args) { cpu::Convert(args.from, args.to, threads_); }
void CpuTable::AdamW(const AdamWArgs& args) { cpu::AdamW(args, threads_); }

void CpuTable::AttentionForwardBegin(const AttentionForwardArgs& args) {
  cpu::AttentionForwardBegin(args, threads_);
}
void CpuTable::AttentionForwardFold(const AttentionForwardArgs& args, const KeyBlock& block,
                                    View scratch) {
  cpu::AttentionForwardFold(args, block, scratch, threads_);
}
void CpuTable::AttentionForwardLast(const AttentionForwardArgs& args, const KeyBlock& block,
                                    const AttentionOutputs& outputs, View scratch) {
  cpu::AttentionForwardLast(args, block, outputs, scratch, threads_);
}
void CpuTable::AttentionForwardFinish(const AttentionForwardArgs& args,
                                      const AttentionOutputs& outputs) {
  cpu::AttentionForwardFinish(args, outputs, threads_);
}
void CpuTable::AttentionBackwardBegin(const AttentionBackwardArgs& args) {
  cpu::AttentionBackwardBegin(args, threads_);
}
void CpuTable::AttentionBackwardFold(const AttentionBackwardArgs& args, const KeyBlock& block,
                                     const KeyBlockGradient& gradient, View scratch) {
  cpu::AttentionBackwardFold(args, block, gradient, scratch, threads_);
}
void CpuTable::AttentionBackwardFinish(const AttentionBackwardArgs& args, View dq) {
  cpu::AttentionBackwardFinish(args, dq, threads_);
}

void CpuTable::Zero(View view) {
  if (view.size() > 0) std::memset(view.data, 0, static_cast<size_t>(view.size_bytes()));
}
void CpuTable::Copy(ConstView from, View to) {
  if (to.size() > 0) std::memcpy(to.data, from.data, static_cast<size_t>(to.size_bytes()));
}
void CpuTable::CopyStrided(const CopyStridedArgs& args) { cpu::CopyStrided(args, threads_); }
void CpuTable::CopyFromHost(const void* from, View to) {
  if (to.size() > 0) std::memcpy(to.data, from, static_cast<size_t>(to.size_bytes()));
}
void CpuTable::CopyToHost(ConstView from, void* to) {
  if (from.size() > 0) std::memcpy(to, from.data, static_cast<size_t>(from.size_bytes()));
}
double CpuTable::SumOfSquares(ConstView view) { return cpu::SumOfSquares(view, threads_); }
double CpuTable::Sum(ConstView view) { return cpu::Sum(view, threads_); }

}  // namespace annulus::kernels
