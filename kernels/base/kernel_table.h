// The kernel table: what one device can compute. A step is one program run against a table.
//
// cpu/ computes on this machine's cores, dry/ does no work and stands for another table when the
// step is only planned, cuda/ computes on GPUs. Tables neither check, count nor allocate:
// Kernels (kernels.h) does that once, in front of every table.
//
// Work is ordered: each call sees the results of the calls before it. A table may return before the
// work is done (a GPU stream); SumOfSquares, Sum, CopyToHost and Wait wait for it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "kernels/base/call_cost.h"
#include "kernels/base/ops.h"

namespace annulus::kernels {

// A line of the start-up table: which kernel serves a class of work, and why it was chosen.
struct KernelChoice {
  std::string work;
  std::string kernel;
  std::string reason;
};

// Memory of the host or of a device, with what gives it back.
using OwnedMemory = std::unique_ptr<std::byte[], std::function<void(std::byte*)>>;

// What a device says of its memory, whoever holds it: contexts, libraries and other processes too.
struct DeviceMemoryUse {
  int64_t used_bytes = 0;
  int64_t total_bytes = 0;  // 0: the device's memory is the host's
};

class KernelTable {
 public:
  virtual ~KernelTable() = default;

  virtual std::string Name() const = 0;
  virtual std::vector<KernelChoice> Choices() const = 0;

  // Told by the front what the next call costs, for a table that keeps a time of its own.
  virtual void Account(const CallCost&) {}

  // Scratch a call needs, in bytes: pure functions of shapes, the same for the dry table. Forward's
  // is that of Fold and of Last.
  virtual int64_t MatMulScratchBytes(const MatMulArgs&) const = 0;
  virtual int64_t RmsNormBackwardScratchBytes(const RmsNormBackwardArgs&) const = 0;
  virtual int64_t MaskedSoftmaxScratchBytes(const MaskedSoftmaxArgs&) const = 0;
  virtual int64_t AttentionForwardStateBytes(const AttentionProblem&) const = 0;
  virtual int64_t AttentionForwardScratchBytes(const AttentionProblem&,
                                               int64_t key_tokens) const = 0;
  virtual int64_t AttentionBackwardStateBytes(const AttentionProblem&) const = 0;
  virtual int64_t AttentionBackwardScratchBytes(const AttentionProblem&,
                                                int64_t key_tokens) const = 0;

  // `scratch` is a view of bytes of at least the size asked for, 64-byte aligned.
  virtual void MatMul(const MatMulArgs&, View scratch) = 0;
  virtual void RmsNorm(const RmsNormArgs&) = 0;
  virtual void RmsNormBackward(const RmsNormBackwardArgs&, View scratch) = 0;
  virtual void RopeTable(const RopeTableArgs&) = 0;
  virtual void Rope(const RopeArgs&) = 0;
  virtual void SwiGlu(const SwiGluArgs&) = 0;
  virtual void SwiGluBackward(const SwiGluBackwardArgs&) = 0;
  virtual void MaskedSoftmax(const MaskedSoftmaxArgs&, View scratch) = 0;
  virtual void MaskedSoftmaxBackward(const MaskedSoftmaxBackwardArgs&) = 0;
  virtual void Embedding(const EmbeddingArgs&) = 0;
  virtual void EmbeddingBackward(const EmbeddingBackwardArgs&) = 0;
  virtual void CrossEntropy(const CrossEntropyArgs&) = 0;
  virtual void Add(const AddArgs&) = 0;
  virtual void Convert(const ConvertArgs&) = 0;
  virtual void AdamW(const AdamWArgs&) = 0;

  // Fused attention with recomputation (Dao 2023, FlashAttention-2; online softmax of Milakov &
  // Gimelshein 2018). Begin, any number of folds in any order of blocks, then Last or Finish.
  // Begin resets `state` for args.q. Fold adds one block of keys inside the kernel, so ring steps
  // need no merge pass. Finish overwrites out and lse (natural logarithm); a row that no key was
  // allowed to gets out = 0 and lse = -inf. Last is Fold and Finish in one, with their bits, and
  // spares the passes over memory between them; the block may hold nothing that any row attends to.
  // After either, `state` holds nothing of use. Finite input gives no NaN as long as scores q.k and
  // the products of values stay within the range of f32.
  virtual void AttentionForwardBegin(const AttentionForwardArgs&) = 0;
  virtual void AttentionForwardFold(const AttentionForwardArgs&, const KeyBlock&, View scratch) = 0;
  virtual void AttentionForwardLast(const AttentionForwardArgs&, const KeyBlock&,
                                    const AttentionOutputs&, View scratch) = 0;
  virtual void AttentionForwardFinish(const AttentionForwardArgs&, const AttentionOutputs&) = 0;

  // Probabilities are recomputed from lse; delta = rowsum(dout * out) is taken in Begin. Fold
  // accumulates dk and dv in f32 and keeps dq in `state`; Finish overwrites dq [B,T,H,D].
  virtual void AttentionBackwardBegin(const AttentionBackwardArgs&) = 0;
  virtual void AttentionBackwardFold(const AttentionBackwardArgs&, const KeyBlock&,
                                     const KeyBlockGradient&, View scratch) = 0;
  virtual void AttentionBackwardFinish(const AttentionBackwardArgs&, View dq) = 0;

  virtual void Zero(View) = 0;
  virtual void Copy(ConstView from, View to) = 0;  // equal sizes and dtypes, both contiguous
  virtual void CopyStrided(const CopyStridedArgs&) = 0;
  virtual void CopyFromHost(const void* from, View to) = 0;
  virtual void CopyToHost(ConstView from, void* to) = 0;

  // Memory for tensors, aligned to 256 bytes, contents unspecified; null where the host's will do.
  // For one reservation before the first step. Throws SystemError where there is not enough.
  virtual OwnedMemory ReserveTensorMemory(int64_t) { return nullptr; }
  virtual DeviceMemoryUse ReadMemoryUse() const { return {}; }

  // Host memory that copies to and from this table's are fastest with, for what stages them
  // all through a run. Must be given back before the table ends.
  virtual OwnedMemory AllocateHost(int64_t bytes) {
    return {new std::byte[static_cast<size_t>(bytes)], std::default_delete<std::byte[]>()};
  }

  // Returns when all work so far is done.
  virtual void Wait() {}
  // Whether it is.
  virtual bool Idle() { return true; }

  // Reductions of f32 in a fixed order, accumulated in float64.
  virtual double SumOfSquares(ConstView) = 0;
  virtual double Sum(ConstView) = 0;
};

}  // namespace annulus::kernels
