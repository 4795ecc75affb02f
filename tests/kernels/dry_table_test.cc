// A step run dry against the same step run.
#include "kernels/dry/dry_table.h"

#include <gtest/gtest.h>

#include <array>

#include "kernels/base/kernels.h"
#include "kernels/cpu/cpu_table.h"
#include "tests/kernels/causal_problem.h"
#include "tests/kernels/test_memory.h"

namespace annulus::kernels::testing {
namespace {

constexpr int64_t kStack = 1 << 22;
constexpr KernelClass kClasses[] = {KernelClass::kMatMul, KernelClass::kAttention,
                                    KernelClass::kElementwise};

// Every call of a step, on tensors from the given stack, activations in `dtype`.
class Step {
 public:
  Step(KernelTable& table, TestMemory& memory, DType dtype)
      : memory_(memory), kernels_(table, memory), dtype_(dtype) {}

  KernelCounters Run() {
    Layers();
    Attention();
    WrittenOut();
    Ends();
    return kernels_.counters();
  }

 private:
  View Tensor(std::initializer_list<int64_t> dims, DType dtype = DType::kF32) {
    const View view = memory_.Allocate(dtype, dims, MemoryCategory::kActivations, "step");
    kernels_.Zero(view);
    return view;
  }

  void Layers() {
    const View x = Tensor({300, 64}, dtype_), y = Tensor({300, 64}, dtype_);
    const View dx = Tensor({300, 64}, dtype_), weight = Tensor({64}, dtype_);
    const View dweight = Tensor({64}), rstd = Tensor({300}), dprojection = Tensor({176, 64});
    const View gate = Tensor({300, 176}, dtype_), up = Tensor({300, 176}, dtype_);
    const View dy = Tensor({300, 176}, dtype_), projection = Tensor({176, 64}, dtype_);
    kernels_.RmsNorm({x, weight, 1e-5f, y, rstd});
    kernels_.MatMul({y, projection.Transposed(), gate});
    kernels_.SwiGlu({gate, up, dy});
    kernels_.SwiGluBackward({dy, gate, up, gate, up});
    kernels_.MatMul({gate, projection, y});
    kernels_.MatMul({gate.Transposed(), x, dprojection, true});
    kernels_.RmsNormBackward({y, x, weight, rstd, dx, dweight});
    kernels_.Add({dx, x});
  }

  void Attention() {
    AttentionProblem problem = CausalProblem(6);
    problem.dtype = dtype_;
    const View q = Tensor({1, 6, 4, 16}, dtype_), out = Tensor({1, 6, 4, 16}, dtype_);
    const View k = Tensor({1, 6, 2, 16}, dtype_), dq = Tensor({1, 6, 4, 16}, dtype_);
    const View lse = Tensor({1, 4, 6}), dk = Tensor({1, 6, 2, 16}), dv = Tensor({1, 6, 2, 16});
    const View cosine = Tensor({6, 8}), sine = Tensor({6, 8});
    const KeyBlock block{k, k, problem.queries};
    kernels_.RopeTable({problem.queries, 1e4, cosine, sine});
    kernels_.Rope({q, cosine, sine});
    const AttentionForwardArgs forward = kernels_.AttentionForwardBegin(problem, q);
    kernels_.AttentionForwardFold(forward, block);
    kernels_.AttentionForwardFinish(forward, {out, lse});
    kernels_.AttentionForwardLast(kernels_.AttentionForwardBegin(problem, q), block, {out, lse});
    const AttentionBackwardArgs backward =
        kernels_.AttentionBackwardBegin(problem, {q, out, out, lse});
    kernels_.AttentionBackwardFold(backward, block, {dk, dv});
    kernels_.AttentionBackwardFinish(backward, dq);
  }

  void WrittenOut() {
    const std::array<KeySegment, 1> all = {{{0, 6}}};
    const std::array<int64_t, 5> first = {0, 1, 1, 1, 1};
    const View p = Tensor({4, 6}, dtype_), scores = Tensor({4, 6}), ds = Tensor({4, 6}, dtype_);
    kernels_.MaskedSoftmax({scores, {all, first}, 1, p});
    kernels_.MaskedSoftmaxBackward({p, scores, 1, ds});
  }

  void Ends() {
    const View table = Tensor({50, 64}, dtype_), tokens = Tensor({7}, DType::kI32);
    const View x = Tensor({7, 64}, dtype_), dlogits = Tensor({7, 50}, dtype_);
    const View logits = Tensor({7, 50}), loss = Tensor({7}), m = Tensor({50, 64});
    const View v = Tensor({50, 64}), gradient = Tensor({50, 64}), master = Tensor({50, 64});
    const bool is_f32 = dtype_ == DType::kF32;
    if (!is_f32) kernels_.Convert({master, table});
    kernels_.Embedding({table, tokens, x});
    kernels_.CrossEntropy({logits, tokens, loss, dlogits});
    kernels_.EmbeddingBackward({x, tokens, gradient});
    kernels_.AdamW({.parameter = master,
                    .gradient = gradient,
                    .first_moment = m,
                    .second_moment = v,
                    .working = is_f32 ? View() : table});
    kernels_.Copy(master, m);
    kernels_.CopyStrided({master.Slice(1, 5, 20), m.Slice(1, 1, 20)});
    kernels_.CopyStrided({master.Slice(1, 5, 20), m.Slice(1, 1, 20), true});
    kernels_.Sum(loss);
    kernels_.SumOfSquares(gradient);
  }

  TestMemory& memory_;
  Kernels kernels_;
  DType dtype_;
};

// What a plan counts is what a run does.
TEST(DryTable, CountsAndTakesMemoryLikeTheTableItModels) {
  for (DType dtype : {DType::kF32, DType::kBF16}) {
    SCOPED_TRACE(NameOf(dtype));
    CpuTable cpu(2);
    TestMemory memory(kStack);
    const KernelCounters counted = Step(cpu, memory, dtype).Run();

    CpuTable modelled(2);
    DryTable dry(modelled);
    TestMemory dry_memory(0);
    const KernelCounters planned = Step(dry, dry_memory, dtype).Run();

    for (KernelClass c : kClasses) {
      EXPECT_GT(counted[c].flops, 0);
      EXPECT_EQ(planned[c].calls, counted[c].calls);
      EXPECT_EQ(planned[c].flops, counted[c].flops);
      EXPECT_EQ(planned[c].bytes, counted[c].bytes);
    }
    EXPECT_EQ(dry_memory.peak_bytes(), memory.peak_bytes());
  }
}

TEST(DryTable, NamesTheTableItStandsFor) {
  CpuTable cpu(3);
  EXPECT_EQ(DryTable(cpu).Name(), "dry cpu, 3 threads");
  EXPECT_EQ(DryTable(cpu).Choices().size(), cpu.Choices().size());
}

}  // namespace
}  // namespace annulus::kernels::testing
