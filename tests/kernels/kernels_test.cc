// The front of the tables: what it refuses, what it counts, what it takes from the stack.
#include "kernels/base/kernels.h"

#include <gtest/gtest.h>

#include <array>
#include <functional>
#include <string>

#include "kernels/cpu/cpu_table.h"
#include "kernels/dry/dry_table.h"
#include "tests/kernels/test_memory.h"

namespace annulus::kernels::testing {
namespace {

constexpr int64_t kStack = 1 << 22;
constexpr KernelClass kClasses[] = {KernelClass::kMatMul, KernelClass::kAttention,
                                    KernelClass::kElementwise};

class KernelsTest : public ::testing::Test {
 protected:
  View Tensor(std::initializer_list<int64_t> dims, DType dtype = DType::kF32) {
    const View view = memory_.Allocate(dtype, dims, MemoryCategory::kActivations, "test");
    kernels_.Zero(view);
    return view;
  }

  CpuTable table_{1};
  TestMemory memory_{kStack};
  Kernels kernels_{table_, memory_};
};

KernelCounters::Class Since(const KernelCounters& before, const KernelCounters& after,
                            KernelClass c) {
  return {after[c].calls - before[c].calls, after[c].flops - before[c].flops,
          after[c].bytes - before[c].bytes};
}

TEST_F(KernelsTest, MatMulCountsAndPopsItsScratch) {
  const View a = Tensor({30, 70}), b = Tensor({50, 70}), c = Tensor({30, 50});
  const int64_t top = memory_.Top();
  kernels_.MatMul({a, b.Transposed(), c});
  const KernelCounters::Class& counted = kernels_.counters()[KernelClass::kMatMul];
  EXPECT_EQ(counted.calls, 1);
  EXPECT_EQ(counted.flops, 2 * 30 * 50 * 70);
  EXPECT_EQ(counted.bytes, 4 * (30 * 70 + 50 * 70 + 30 * 50));
  EXPECT_EQ(kernels_.counters().model_flops(), counted.flops);
  EXPECT_EQ(memory_.Top(), top);
  EXPECT_EQ(memory_.last_category(), MemoryCategory::kWorkspace);
}

TEST_F(KernelsTest, RmsNormBackwardTakesAndPopsItsScratch) {
  const View x = Tensor({100, 64}), rows = Tensor({100}), weight = Tensor({64});
  const View dx = Tensor({100, 64}), dweight = Tensor({64});
  const RmsNormBackwardArgs args{x, x, weight, rows, dx, dweight};
  const int64_t top = memory_.Top();
  ASSERT_GT(table_.RmsNormBackwardScratchBytes(args), 0);
  kernels_.RmsNormBackward(args);
  EXPECT_EQ(memory_.Top(), top);
  EXPECT_GE(memory_.peak_bytes(), top + table_.RmsNormBackwardScratchBytes(args));
}

TEST_F(KernelsTest, ElementwiseCountsBytes) {
  const View x = Tensor({6, 7}), y = Tensor({6, 7});
  const KernelCounters before = kernels_.counters();
  kernels_.Add({x, y});
  const KernelCounters::Class add = Since(before, kernels_.counters(), KernelClass::kElementwise);
  EXPECT_EQ(add.calls, 1);
  EXPECT_EQ(add.flops, 42);
  EXPECT_EQ(add.bytes, 3 * 42 * 4);
  EXPECT_EQ(kernels_.counters().model_flops(), 0);
}

// A contract that is broken is refused before any work, and costs nothing.
TEST_F(KernelsTest, RefusesWrongShapes) {
  const View m = Tensor({4, 6}), other = Tensor({4, 5}), row = Tensor({6}), rows = Tensor({4});
  const View wrong_row = Tensor({5}), spread = Tensor({4, 12}).Slice(1, 0, 6);
  const View ids = Tensor({4}, DType::kI32), heads = Tensor({1, 4, 1, 6});
  const std::array<int64_t, 5> first{};
  const View half = Tensor({4, 6}, DType::kBF16);
  const View fewer = Tensor({3, 6}), odd_heads = Tensor({1, 4, 1, 5}), table = Tensor({4, 3});
  Kernels& k = kernels_;
  const std::pair<std::string, std::function<void()>> broken[] = {
      {"matmul depth",
       [&] {
         k.MatMul({m, m, m});
       }},
      {"matmul result",
       [&] {
         k.MatMul({m, m.Transposed(), m});
       }},
      {"matmul rank",
       [&] {
         k.MatMul({row, row, row});
       }},
      {"norm weight",
       [&] {
         k.RmsNorm({m, wrong_row, 0, m, rows});
       }},
      {"norm rstd",
       [&] {
         k.RmsNorm({m, row, 0, m, row});
       }},
      {"norm strided",
       [&] {
         k.RmsNorm({spread, row, 0, m, rows});
       }},
      {"norm dx",
       [&] {
         k.RmsNormBackward({m, m, row, rows, other, row});
       }},
      {"rope table",
       [&] {
         k.RopeTable({Positions({0, 1, 5}), 1e4, table, table});
       }},
      {"rope rank",
       [&] {
         k.Rope({m, table, table});
       }},
      {"rope odd",
       [&] {
         k.Rope({odd_heads, table, table});
       }},
      {"rope angles",
       [&] {
         k.Rope({heads, m, table});
       }},
      {"swiglu up",
       [&] {
         k.SwiGlu({m, other, m});
       }},
      {"swiglu dup",
       [&] {
         k.SwiGluBackward({m, m, m, m, other});
       }},
      {"softmax scores",
       [&] {
         k.MaskedSoftmax({other, {{}, first}, 1, m});
       }},
      {"softmax rows",
       [&] {
         k.MaskedSoftmax({m, {{}, {}}, 1, m});
       }},
      {"softmax dtype",
       [&] {
         k.MaskedSoftmaxBackward({m, m, 1, half});
       }},
      {"embedding width",
       [&] {
         k.Embedding({m, ids, other});
       }},
      {"embedding dtype",
       [&] {
         k.Embedding({m, rows, m});
       }},
      {"embedding count",
       [&] {
         k.EmbeddingBackward({fewer, ids, m});
       }},
      {"loss rows",
       [&] {
         k.CrossEntropy({m, ids, row});
       }},
      {"loss labels",
       [&] {
         k.CrossEntropy({m, rows, rows});
       }},
      {"add",
       [&] {
         k.Add({m, other});
       }},
      {"adamw",
       [&] {
         k.AdamW({.parameter = m, .gradient = m, .first_moment = m, .second_moment = other});
       }},
      {"zero strided", [&] { k.Zero(spread); }},
      {"copy dtype", [&] { k.Copy(rows, ids); }},
      {"sum strided", [&] { k.Sum(spread); }},
      {"sum dtype", [&] { k.SumOfSquares(ids); }},
  };
  for (const auto& [what, call] : broken) {
    const KernelCounters before = kernels_.counters();
    EXPECT_THROW(call(), InternalError) << what;
    for (KernelClass c : kClasses) {
      EXPECT_EQ(Since(before, kernels_.counters(), c).calls, 0) << what;
    }
  }
}

// Positions 0..5 of a causal sequence, padded from `length` on.
AttentionProblem CausalProblem(int64_t length) {
  AttentionProblem problem;
  problem.heads = 4;
  problem.kv_heads = 2;
  problem.head_dim = 16;
  problem.scale = 0.25f;
  problem.queries = Positions({0, 1, 6});
  problem.mask.kind = MaskKind::kCausal;
  problem.mask.length = length;
  return problem;
}

TEST_F(KernelsTest, AttentionCountsAllowedPairsAndKeepsItsState) {
  const AttentionProblem problem = CausalProblem(5);
  const View q = Tensor({1, 6, 4, 16}), out = Tensor({1, 6, 4, 16}), lse = Tensor({1, 4, 6});
  const View k = Tensor({1, 6, 2, 16});
  const int64_t before = memory_.Top();
  {
    MemoryScope scope(memory_);
    const AttentionForwardArgs args = kernels_.AttentionForwardBegin(problem, q);
    const int64_t with_state = memory_.Top();
    EXPECT_GE(with_state, before + table_.AttentionForwardStateBytes(problem));
    kernels_.AttentionForwardFold(args, {k, k, problem.queries});
    EXPECT_EQ(memory_.Top(), with_state);
    kernels_.AttentionForwardFinish(args, out, lse);
    EXPECT_THROW(kernels_.AttentionForwardFold(args, {k, q, problem.queries}), InternalError);
    EXPECT_THROW(kernels_.AttentionForwardFinish(args, out, q), InternalError);
  }
  EXPECT_EQ(memory_.Top(), before);
  constexpr int64_t kPairs = 5 * 6 / 2;  // the sixth token is padding
  EXPECT_EQ(kernels_.counters()[KernelClass::kAttention].flops, 4 * 4 * 16 * kPairs);
}

TEST_F(KernelsTest, RefusesHeadsThatDoNotDivide) {
  AttentionProblem problem = CausalProblem(6);
  problem.kv_heads = 3;
  EXPECT_THROW(kernels_.AttentionForwardBegin(problem, Tensor({1, 6, 4, 16})), InternalError);
}

// Every call of a step, on tensors from the given stack.
class Step {
 public:
  Step(KernelTable& table, TestMemory& memory) : memory_(memory), kernels_(table, memory) {}

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
    const View x = Tensor({300, 64}), y = Tensor({300, 64}), weight = Tensor({64});
    const View dx = Tensor({300, 64}), dweight = Tensor({64}), rstd = Tensor({300});
    const View gate = Tensor({300, 176}), up = Tensor({300, 176}), dy = Tensor({300, 176});
    const View projection = Tensor({176, 64});
    kernels_.RmsNorm({x, weight, 1e-5f, y, rstd});
    kernels_.MatMul({y, projection.Transposed(), gate});
    kernels_.SwiGlu({gate, up, dy});
    kernels_.SwiGluBackward({dy, gate, up, gate, up});
    kernels_.MatMul({gate, projection, y});
    kernels_.MatMul({gate.Transposed(), x, projection, true});
    kernels_.RmsNormBackward({y, x, weight, rstd, dx, dweight});
    kernels_.Add({dx, x});
  }

  void Attention() {
    const AttentionProblem problem = CausalProblem(6);
    const View q = Tensor({1, 6, 4, 16}), out = Tensor({1, 6, 4, 16}), lse = Tensor({1, 4, 6});
    const View k = Tensor({1, 6, 2, 16}), dk = Tensor({1, 6, 2, 16});
    const View dq = Tensor({1, 6, 4, 16}), dv = Tensor({1, 6, 2, 16});
    const View cosine = Tensor({6, 8}), sine = Tensor({6, 8});
    const KeyBlock block{k, k, problem.queries};
    kernels_.RopeTable({problem.queries, 1e4, cosine, sine});
    kernels_.Rope({q, cosine, sine});
    const AttentionForwardArgs forward = kernels_.AttentionForwardBegin(problem, q);
    kernels_.AttentionForwardFold(forward, block);
    kernels_.AttentionForwardFinish(forward, out, lse);
    const AttentionBackwardArgs backward =
        kernels_.AttentionBackwardBegin(problem, {q, out, out, lse});
    kernels_.AttentionBackwardFold(backward, block, {dk, dv});
    kernels_.AttentionBackwardFinish(backward, dq);
  }

  void WrittenOut() {
    const std::array<KeySegment, 1> all = {{{0, 6}}};
    const std::array<int64_t, 5> first = {0, 1, 1, 1, 1};
    const View p = Tensor({4, 6}, DType::kBF16), scores = Tensor({4, 6}),
               ds = Tensor({4, 6}, DType::kBF16);
    kernels_.MaskedSoftmax({scores, {all, first}, 1, p});
    kernels_.MaskedSoftmaxBackward({p, scores, 1, ds});
  }

  void Ends() {
    const View table = Tensor({50, 64}), tokens = Tensor({7}, DType::kI32), x = Tensor({7, 64});
    const View logits = Tensor({7, 50}), loss = Tensor({7}), m = Tensor({50, 64});
    const View v = Tensor({50, 64}), gradient = Tensor({50, 64});
    kernels_.Embedding({table, tokens, x});
    kernels_.CrossEntropy({logits, tokens, loss, logits});
    kernels_.EmbeddingBackward({x, tokens, table});
    kernels_.AdamW(
        {.parameter = table, .gradient = gradient, .first_moment = m, .second_moment = v});
    kernels_.Copy(table, m);
    kernels_.Sum(loss);
    kernels_.SumOfSquares(table);
  }

  TestMemory& memory_;
  Kernels kernels_;
};

// What a plan counts is what a run does.
TEST(DryTable, CountsAndTakesMemoryLikeTheTableItModels) {
  CpuTable cpu(2);
  TestMemory memory(kStack);
  const KernelCounters counted = Step(cpu, memory).Run();

  CpuTable modelled(2);
  DryTable dry(modelled);
  TestMemory dry_memory(0);
  const KernelCounters planned = Step(dry, dry_memory).Run();

  for (KernelClass c : kClasses) {
    EXPECT_GT(counted[c].flops, 0);
    EXPECT_EQ(planned[c].calls, counted[c].calls);
    EXPECT_EQ(planned[c].flops, counted[c].flops);
    EXPECT_EQ(planned[c].bytes, counted[c].bytes);
  }
  EXPECT_EQ(dry_memory.peak_bytes(), memory.peak_bytes());
}

TEST(DryTable, NamesTheTableItStandsFor) {
  CpuTable cpu(3);
  EXPECT_EQ(DryTable(cpu).Name(), "dry cpu, 3 threads");
  EXPECT_EQ(DryTable(cpu).Choices().size(), cpu.Choices().size());
}

}  // namespace
}  // namespace annulus::kernels::testing
