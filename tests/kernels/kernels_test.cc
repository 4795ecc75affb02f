// The front of the tables: what it refuses, what it counts, what it takes from the stack.
#include "kernels/base/kernels.h"

#include <gtest/gtest.h>

#include <array>
#include <functional>
#include <string>

#include "kernels/cpu/cpu_table.h"
#include "tests/kernels/causal_problem.h"
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

// Each tensor counts in its own dtype.
TEST_F(KernelsTest, CountsBytesOfBf16) {
  const View x = Tensor({6, 7}, DType::kBF16), wide = Tensor({6, 7}),
             ids = Tensor({6}, DType::kI32);
  const View rows = Tensor({6}), master = Tensor({42}), square = Tensor({7, 7});
  const auto bytes_of = [&](KernelClass c, const std::function<void()>& call) {
    const KernelCounters before = kernels_.counters();
    call();
    return Since(before, kernels_.counters(), c).bytes;
  };
  EXPECT_EQ(bytes_of(KernelClass::kElementwise, [&] { kernels_.Add({x, x}); }), 3 * 42 * 2);
  EXPECT_EQ(bytes_of(KernelClass::kElementwise, [&] { kernels_.Convert({x, wide}); }), 42 * 6);
  EXPECT_EQ(bytes_of(KernelClass::kElementwise,
                     [&] {
                       kernels_.EmbeddingBackward({x, ids, wide});
                     }),
            42 * (2 + 2 * 4));
  EXPECT_EQ(bytes_of(KernelClass::kElementwise,
                     [&] {
                       kernels_.CrossEntropy({wide, ids, rows, x});
                     }),
            42 * (4 + 2));
  AdamWArgs update{
      .parameter = master, .gradient = master, .first_moment = master, .second_moment = master};
  update.working = x;
  EXPECT_EQ(bytes_of(KernelClass::kElementwise, [&] { kernels_.AdamW(update); }), 42 * (28 + 2));
  EXPECT_EQ(bytes_of(KernelClass::kMatMul,
                     [&] {
                       kernels_.MatMul({x.Transposed(), x, square});
                     }),
            2 * 42 * 2 + 49 * 4);
}

// A contract that is broken is refused before any work, and costs nothing.
TEST_F(KernelsTest, RefusesWrongShapes) {
  const View m = Tensor({4, 6}), other = Tensor({4, 5}), row = Tensor({6}), rows = Tensor({4});
  const View columns = Tensor({6, 4}).Transposed();
  const View wrong_row = Tensor({5}), spread = Tensor({4, 12}).Slice(1, 0, 6);
  const View ids = Tensor({4}, DType::kI32), heads = Tensor({1, 4, 1, 6});
  const std::array<int64_t, 5> first{};
  const View ids_column = ids.Reshape({4, 1}), ids_square = Tensor({4, 4});
  const View half = Tensor({4, 6}, DType::kBF16), half_row = Tensor({6}, DType::kBF16);
  const View square = Tensor({6, 6}), half_square = Tensor({6, 6}, DType::kBF16);
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
      {"matmul of mixed factors",
       [&] {
         k.MatMul({m.Transposed(), half, square});
       }},
      {"matmul of f32 into bf16",
       [&] {
         k.MatMul({m.Transposed(), m, half_square});
       }},
      {"matmul of whole numbers",
       [&] {
         k.MatMul({ids_column, ids_column.Transposed(), ids_square});
       }},
      {"norm of mixed types",
       [&] {
         k.RmsNorm({half, row, 0, half, rows});
       }},
      {"norm backward of mixed types",
       [&] {
         k.RmsNormBackward({half, m, row, rows, m, row});
       }},
      {"norm backward into bf16 dweight",
       [&] {
         k.RmsNormBackward({half, half, half_row, rows, half, half_row});
       }},
      {"swiglu of mixed types",
       [&] {
         k.SwiGlu({half, half, m});
       }},
      {"embedding of mixed types",
       [&] {
         k.Embedding({half, ids, m});
       }},
      {"embedding gradient in bf16",
       [&] {
         k.EmbeddingBackward({half, ids, half});
       }},
      {"loss of bf16 logits",
       [&] {
         k.CrossEntropy({half, ids, rows});
       }},
      {"loss gradient",
       [&] {
         k.CrossEntropy({m, ids, rows, other});
       }},
      {"add of mixed types",
       [&] {
         k.Add({half, m});
       }},
      {"conversion to itself",
       [&] {
         k.Convert({m, m});
       }},
      {"conversion of other sizes",
       [&] {
         k.Convert({half, other});
       }},
      {"working copy in f32",
       [&] {
         k.AdamW(
             {.parameter = m, .gradient = m, .first_moment = m, .second_moment = m, .working = m});
       }},
      {"master weights in bf16",
       [&] { k.AdamW({.parameter = half, .gradient = m, .first_moment = m, .second_moment = m}); }},
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
      {"strided copy shape",
       [&] {
         k.CopyStrided({m, other});
       }},
      {"strided copy dtype",
       [&] {
         k.CopyStrided({rows, ids});
       }},
      {"strided copy columns",
       [&] {
         k.CopyStrided({columns, m});
       }},
      {"strided add",
       [&] {
         k.CopyStrided({ids, ids, true});
       }},
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
    kernels_.AttentionForwardFinish(args, {out, lse});
    EXPECT_THROW(kernels_.AttentionForwardFold(args, {k, q, problem.queries}), InternalError);
    EXPECT_THROW(kernels_.AttentionForwardFinish(args, {out, q}), InternalError);
  }
  EXPECT_EQ(memory_.Top(), before);
  constexpr int64_t kPairs = 5 * 6 / 2;  // the sixth token is padding
  EXPECT_EQ(kernels_.counters()[KernelClass::kAttention].flops, 4 * 4 * 16 * kPairs);
}

// A fold is counted alike whether it is the last one, but for the outputs that it writes.
TEST_F(KernelsTest, AttentionCountsItsLastFoldAsAFold) {
  const AttentionProblem problem = CausalProblem(5);
  const View q = Tensor({1, 6, 4, 16}), out = Tensor({1, 6, 4, 16}), lse = Tensor({1, 4, 6});
  const View k = Tensor({1, 6, 2, 16});
  const KeyBlock keys{k, k, problem.queries};
  MemoryScope scope(memory_);
  const AttentionForwardArgs args = kernels_.AttentionForwardBegin(problem, q);
  const int64_t with_state = memory_.Top();
  const KernelCounters before = kernels_.counters();
  kernels_.AttentionForwardFold(args, keys);
  const KernelCounters between = kernels_.counters();
  kernels_.AttentionForwardLast(args, keys, {out, lse});
  EXPECT_EQ(memory_.Top(), with_state);
  const auto fold = Since(before, between, KernelClass::kAttention);
  const auto last = Since(between, kernels_.counters(), KernelClass::kAttention);
  EXPECT_EQ(last.calls, fold.calls);
  EXPECT_EQ(last.flops, fold.flops);
  EXPECT_EQ(last.bytes, fold.bytes + out.size_bytes() + lse.size_bytes());
  EXPECT_EQ(Since(between, kernels_.counters(), KernelClass::kElementwise).calls, 0);
  EXPECT_THROW(kernels_.AttentionForwardLast(args, {k, q, problem.queries}, {out, lse}),
               InternalError);
  EXPECT_THROW(kernels_.AttentionForwardLast(args, keys, {k, lse}), InternalError);
  EXPECT_THROW(kernels_.AttentionForwardLast(args, keys, {out, q}), InternalError);
}

// Sequences of keys may lie apart, their tokens may not.
TEST_F(KernelsTest, AttentionTakesPartsOfSequencesAndNothingElse) {
  AttentionProblem problem = CausalProblem(6);
  problem.batch = 2;
  const View q = Tensor({2, 6, 4, 16}), longer = Tensor({2, 9, 2, 16}),
             wider = Tensor({2, 6, 3, 16});
  const View part = longer.Slice(1, 3, 6), heads = wider.Slice(2, 0, 2);
  MemoryScope scope(memory_);
  const AttentionForwardArgs args = kernels_.AttentionForwardBegin(problem, q);
  EXPECT_NO_THROW(kernels_.AttentionForwardFold(args, {part, part, problem.queries}));
  EXPECT_THROW(kernels_.AttentionForwardFold(args, {heads, part, problem.queries}), InternalError);
  EXPECT_THROW(kernels_.AttentionForwardFold(args, {part, heads, problem.queries}), InternalError);
}

TEST_F(KernelsTest, RefusesHeadsThatDoNotDivide) {
  AttentionProblem problem = CausalProblem(6);
  problem.kv_heads = 3;
  EXPECT_THROW(kernels_.AttentionForwardBegin(problem, Tensor({1, 6, 4, 16})), InternalError);
}

}  // namespace
}  // namespace annulus::kernels::testing
