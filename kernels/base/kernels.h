// The front of every kernel table: checks the arguments, counts FLOPs and gives scratch, once.
//
// Because the dry and the real run pass through the same front, what a plan counts is what a run
// does.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "kernels/base/kernel_table.h"
#include "kernels/base/memory.h"
#include "kernels/base/pair_counter.h"

namespace annulus::kernels {

enum class KernelClass : uint8_t { kMatMul, kAttention, kElementwise };
inline constexpr int kKernelClasses = 3;

// Work done so far, by class. `bytes` are the tensor bytes each call reads and writes once.
struct KernelCounters {
  struct Class {
    int64_t calls = 0;
    int64_t flops = 0;
    int64_t bytes = 0;
  };
  std::array<Class, kKernelClasses> classes{};

  Class& operator[](KernelClass c) { return classes[static_cast<size_t>(c)]; }
  const Class& operator[](KernelClass c) const { return classes[static_cast<size_t>(c)]; }
  // FLOPs of matrix products and attention, the ones a model's FLOP utilisation is stated in.
  int64_t model_flops() const {
    return (*this)[KernelClass::kMatMul].flops + (*this)[KernelClass::kAttention].flops;
  }
};

// Every method has the contract of the table's method of that name. A broken contract throws
// InternalError before any work.
class Kernels {
 public:
  // `table` and `memory` must outlive this.
  Kernels(KernelTable& table, StackMemory& memory) : table_(table), memory_(memory) {}

  KernelTable& table() const { return table_; }
  const KernelCounters& counters() const { return counters_; }

  void MatMul(const MatMulArgs& args);
  void RmsNorm(const RmsNormArgs& args);
  void RmsNormBackward(const RmsNormBackwardArgs& args);
  void RopeTable(const RopeTableArgs& args);
  void Rope(const RopeArgs& args);
  void SwiGlu(const SwiGluArgs& args);
  void SwiGluBackward(const SwiGluBackwardArgs& args);
  void MaskedSoftmax(const MaskedSoftmaxArgs& args);
  void MaskedSoftmaxBackward(const MaskedSoftmaxBackwardArgs& args);
  void Embedding(const EmbeddingArgs& args);
  void EmbeddingBackward(const EmbeddingBackwardArgs& args);
  void CrossEntropy(const CrossEntropyArgs& args);
  void Add(const AddArgs& args);
  void Convert(const ConvertArgs& args);
  void AdamW(const AdamWArgs& args);
  void Zero(View view);
  void Copy(ConstView from, View to);
  void CopyStrided(const CopyStridedArgs& args);
  void CopyFromHost(const void* from, View to);
  void CopyToHost(ConstView from, void* to);
  double SumOfSquares(ConstView view);
  double Sum(ConstView view);

  // Pushes the state on the stack and begins; the caller's MemoryScope pops it.
  AttentionForwardArgs AttentionForwardBegin(const AttentionProblem& problem, ConstView q);
  void AttentionForwardFold(const AttentionForwardArgs& args, const KeyBlock& block);
  void AttentionForwardLast(const AttentionForwardArgs& args, const KeyBlock& block,
                            const AttentionOutputs& outputs);
  void AttentionForwardFinish(const AttentionForwardArgs& args, const AttentionOutputs& outputs);

  struct BackwardInputs {
    ConstView q;
    ConstView out;
    ConstView dout;
    ConstView lse;
  };
  AttentionBackwardArgs AttentionBackwardBegin(const AttentionProblem& problem,
                                               const BackwardInputs& inputs);
  void AttentionBackwardFold(const AttentionBackwardArgs& args, const KeyBlock& block,
                             const KeyBlockGradient& gradient);
  void AttentionBackwardFinish(const AttentionBackwardArgs& args, View dq);

 private:
  void Count(const CallCost& cost);
  void CountElementwise(DType dtype, int64_t flops, int64_t bytes);
  // Counts a fold that writes so many bytes of outputs, and gives its scratch.
  View PrepareForwardFold(const AttentionForwardArgs& args, const KeyBlock& block,
                          int64_t output_bytes);
  // Allowed (query, key) pairs over all sequences and query heads.
  int64_t AttentionPairs(const AttentionProblem& problem, const KeyBlock& block);
  View Scratch(int64_t bytes);

  KernelTable& table_;
  StackMemory& memory_;
  KernelCounters counters_;
  PairCounter pairs_;
};

}  // namespace annulus::kernels
