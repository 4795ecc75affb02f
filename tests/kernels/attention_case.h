// Attention cases, run as the ring does, block by block, and measured against the reference,
// whatever computes them.
#pragma once

#include <cstddef>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "tests/reference/attention_reference.h"

namespace annulus::kernels {

// A problem and its keys, dealt to blocks in the order in which they are folded. `inputs.keys` are
// the blocks' positions one after the other.
struct AttentionCase {
  reference::AttentionInputs inputs;
  std::vector<Positions> blocks;
  std::vector<float> dout;
  float gradient_start = 0;  // what dk and dv hold before the first fold
  Meanwhile meanwhile = {};
};

// The blocks together have at most Positions::kMaxRuns runs.
AttentionCase MakeCase(const AttentionProblem& problem, const std::vector<Positions>& blocks,
                       uint32_t seed);

struct AttentionResult {
  reference::AttentionOutput<float> output;
  reference::AttentionGradients<float> gradients;
  std::vector<std::byte> state;  // that the last fold of the forward pass left
};

// A device's memory and its fused attention; contracts are those of KernelTable's methods.
class AttentionTarget {
 public:
  virtual ~AttentionTarget() = default;

  // `bytes` of memory, 64-byte aligned, so that a checker sees the first byte too many. Lives as
  // long as the target.
  virtual void* Allocate(int64_t bytes) = 0;
  virtual void Upload(const void* from, void* to, int64_t bytes) = 0;
  virtual void Download(const void* from, void* to, int64_t bytes) = 0;  // of all work so far

  virtual int64_t ForwardStateBytes(const AttentionProblem& problem) const = 0;
  virtual int64_t ForwardScratchBytes(const AttentionProblem& problem, int64_t keys) const = 0;
  virtual void ForwardBegin(const AttentionForwardArgs& args) = 0;
  virtual void ForwardFold(const AttentionForwardArgs& args, const KeyBlock& block,
                           View scratch) = 0;
  virtual void ForwardLast(const AttentionForwardArgs& args, const KeyBlock& block,
                           const AttentionOutputs& outputs, View scratch) = 0;
  virtual void ForwardFinish(const AttentionForwardArgs& args, const AttentionOutputs& outputs) = 0;

  virtual int64_t BackwardStateBytes(const AttentionProblem& problem) const = 0;
  virtual int64_t BackwardScratchBytes(const AttentionProblem& problem, int64_t keys) const = 0;
  virtual void BackwardBegin(const AttentionBackwardArgs& args) = 0;
  virtual void BackwardFold(const AttentionBackwardArgs& args, const KeyBlock& block,
                            const KeyBlockGradient& gradient, View scratch) = 0;
  virtual void BackwardFinish(const AttentionBackwardArgs& args, View dq) = 0;
};

// Begin, fold every block, finish; forward, then backward from its output. Outputs and memory are
// filled with kPoison, which is NaNs, first. Forward runs twice, finished by its last fold and by
// Finish, and both are expected to give the same bits.
constexpr unsigned char kPoison = 0xff;
AttentionResult RunAttention(const AttentionCase& c, AttentionTarget& target);

// Over the elements of a tensor: the largest of a few hundred errors is a matter of luck, and so is
// a multiple of it; the root of their mean square is not.
enum class Norm { kLargest, kRootMeanSquare };

// How far an output may be from the truth, both by a norm: a multiple of the error of a plain
// implementation of the same precision, and a floor of some roundings of the values.
struct Tolerance {
  Norm norm = Norm::kLargest;
  double plain_errors = 2;
  double floor = 4 * std::numeric_limits<float>::epsilon();
  // A share of the terms of the sums that an output is made of, and with it what a rounding of a
  // logit does to a probability: where terms cancel, or where a plain implementation happens to
  // meet the truth, that is what remains. 0: neither.
  double terms = 0;
};

// What a case's outputs are to be.
class AttentionTruth {
 public:
  explicit AttentionTruth(const AttentionCase& c);

  // Every output within the tolerance.
  void Expect(const AttentionResult& fused, const Tolerance& tolerance = {}) const;

 private:
  const AttentionCase& case_;
  reference::AttentionOutput<double> output_;
  reference::AttentionOutput<float> plain_output_;
  reference::AttentionGradients<double> gradients_;
  reference::AttentionGradients<float> plain_gradients_;
};

void ExpectSameBits(const AttentionResult& a, const AttentionResult& b);

// 1 sequence, 2 query heads on 1 key/value head, scale 1/sqrt(D).
AttentionProblem MakeProblem(const Mask& mask, const Positions& queries, int64_t head_dim);

// A mask of each kind whose borders cross tiles.
Mask MakeMask(MaskKind kind, int64_t length);
std::vector<MaskKind> AllMaskKinds();
std::string TestName(MaskKind kind);

}  // namespace annulus::kernels
