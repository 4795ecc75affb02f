#include "kernels/base/kernels.h"

#include "kernels/base/checks.h"

namespace annulus::kernels {
namespace {

KernelClass ClassOf(RateClass work) {
  if (work == RateClass::kMatMul) return KernelClass::kMatMul;
  return IsAttention(work) ? KernelClass::kAttention : KernelClass::kElementwise;
}

int64_t BytesOf(const AttentionOutputs& outputs) {
  return outputs.out.size_bytes() + outputs.lse.size_bytes();
}

}  // namespace

void Kernels::Count(const CallCost& cost) {
  KernelCounters::Class& counted = counters_[ClassOf(cost.work)];
  ++counted.calls;
  counted.flops += cost.flops;
  counted.bytes += cost.bytes;
  table_.Account(cost);
}

void Kernels::CountElementwise(DType dtype, int64_t flops, int64_t bytes) {
  Count({.work = RateClass::kElementwise, .dtype = dtype, .flops = flops, .bytes = bytes});
}

int64_t Kernels::AttentionPairs(const AttentionProblem& problem, const KeyBlock& block) {
  return problem.batch * problem.heads *
         pairs_.Count(problem.mask, problem.queries, block.positions);
}

View Kernels::Scratch(int64_t bytes) {
  return memory_.Allocate(DType::kByte, {bytes}, MemoryCategory::kWorkspace, "kernel");
}

void Kernels::MatMul(const MatMulArgs& args) {
  const int64_t m = args.c.dim(0), n = args.c.dim(1), k = args.a.dim(1);
  Check(args.a.rank == 2 && args.b.rank == 2 && args.c.rank == 2 && args.a.dim(0) == m &&
            args.b.dim(0) == k && args.b.dim(1) == n,
        "matmul of {} and {} into {}", args.a, args.b, args.c);
  CheckElement(args.a.dtype, "a factor");
  Check(
      args.b.dtype == args.a.dtype && (args.c.dtype == args.a.dtype || args.c.dtype == DType::kF32),
      "matmul of {} and {} into {}", args.a, args.b, args.c);
  Count({.work = RateClass::kMatMul,
         .dtype = args.a.dtype,
         .flops = 2 * m * n * k,
         .bytes = args.a.size_bytes() + args.b.size_bytes() + args.c.size_bytes()});
  if (m == 0 || n == 0) return;
  MemoryScope scope(memory_);
  table_.MatMul(args, Scratch(table_.MatMulScratchBytes(args)));
}

void Kernels::RmsNorm(const RmsNormArgs& args) {
  const int64_t rows = args.x.dim(0), hidden = args.x.dim(1);
  CheckElement(args.x.dtype, "x");
  CheckDims(args.x, {rows, hidden}, args.x.dtype, "x");
  CheckDims(args.y, {rows, hidden}, args.x.dtype, "y");
  CheckDims(args.weight, {hidden}, args.x.dtype, "weight");
  CheckDims(args.rstd, {rows}, "rstd");
  CountElementwise(args.x.dtype, 4 * args.x.size(), 2 * args.x.size_bytes());
  table_.RmsNorm(args);
}

void Kernels::RmsNormBackward(const RmsNormBackwardArgs& args) {
  const int64_t rows = args.x.dim(0), hidden = args.x.dim(1);
  CheckElement(args.x.dtype, "x");
  CheckDims(args.x, {rows, hidden}, args.x.dtype, "x");
  CheckDims(args.dy, {rows, hidden}, args.x.dtype, "dy");
  CheckDims(args.dx, {rows, hidden}, args.x.dtype, "dx");
  CheckDims(args.weight, {hidden}, args.x.dtype, "weight");
  CheckDims(args.dweight, {hidden}, "dweight");
  CheckDims(args.rstd, {rows}, "rstd");
  CountElementwise(args.x.dtype, 10 * args.x.size(), 4 * args.x.size_bytes());
  MemoryScope scope(memory_);
  table_.RmsNormBackward(args, Scratch(table_.RmsNormBackwardScratchBytes(args)));
}

void Kernels::RopeTable(const RopeTableArgs& args) {
  const int64_t tokens = args.positions.tokens(), half = args.cosine.dim(1);
  CheckDims(args.cosine, {tokens, half}, "cosine");
  CheckDims(args.sine, {tokens, half}, "sine");
  CountElementwise(DType::kF32, 2 * args.cosine.size(), 2 * args.cosine.size_bytes());
  table_.RopeTable(args);
}

void Kernels::Rope(const RopeArgs& args) {
  Check(args.x.rank == 4 && args.x.dim(3) % 2 == 0, "rope needs [B,T,H,D] with an even D, not {}",
        args.x);
  CheckElement(args.x.dtype, "x");
  CheckDType(args.x, args.x.dtype, "x");
  CheckDims(args.cosine, {args.x.dim(1), args.x.dim(3) / 2}, "cosine");
  CheckDims(args.sine, {args.x.dim(1), args.x.dim(3) / 2}, "sine");
  CountElementwise(args.x.dtype, 3 * args.x.size(), 2 * args.x.size_bytes());
  table_.Rope(args);
}

void Kernels::SwiGlu(const SwiGluArgs& args) {
  const int64_t rows = args.gate.dim(0), width = args.gate.dim(1);
  CheckElement(args.gate.dtype, "gate");
  CheckDims(args.gate, {rows, width}, args.gate.dtype, "gate");
  CheckDims(args.up, {rows, width}, args.gate.dtype, "up");
  CheckDims(args.y, {rows, width}, args.gate.dtype, "y");
  CountElementwise(args.gate.dtype, 5 * args.y.size(), 3 * args.y.size_bytes());
  table_.SwiGlu(args);
}

void Kernels::SwiGluBackward(const SwiGluBackwardArgs& args) {
  const int64_t rows = args.gate.dim(0), width = args.gate.dim(1);
  CheckElement(args.gate.dtype, "gate");
  for (const ConstView& view : {ConstView(args.dy), ConstView(args.gate), ConstView(args.up),
                                ConstView(args.dgate), ConstView(args.dup)}) {
    CheckDims(view, {rows, width}, args.gate.dtype, "a SwiGLU tensor");
  }
  CountElementwise(args.gate.dtype, 10 * args.dy.size(), 5 * args.dy.size_bytes());
  table_.SwiGluBackward(args);
}

void Kernels::MaskedSoftmax(const MaskedSoftmaxArgs& args) {
  const int64_t rows = args.p.dim(0), keys = args.p.dim(1);
  CheckElement(args.p.dtype, "p");
  CheckDims(args.p, {rows, keys}, args.p.dtype, "p");
  CheckDims(args.scores, {rows, keys}, "scores");
  Check(static_cast<int64_t>(args.keys.first.size()) == rows + 1, "{} rows of allowed keys for {}",
        args.keys.first.size(), args.p);
  CountElementwise(args.p.dtype, 5 * args.p.size(),
                   2 * args.scores.size_bytes() + args.p.size_bytes());
  MemoryScope scope(memory_);
  table_.MaskedSoftmax(args, Scratch(table_.MaskedSoftmaxScratchBytes(args)));
}

void Kernels::MaskedSoftmaxBackward(const MaskedSoftmaxBackwardArgs& args) {
  const int64_t rows = args.p.dim(0), keys = args.p.dim(1);
  CheckElement(args.p.dtype, "p");
  CheckDims(args.p, {rows, keys}, args.p.dtype, "p");
  CheckDims(args.dp, {rows, keys}, "dp");
  CheckDims(args.ds, {rows, keys}, args.p.dtype, "ds");
  CountElementwise(args.p.dtype, 5 * args.p.size(),
                   args.p.size_bytes() + args.dp.size_bytes() + args.ds.size_bytes());
  table_.MaskedSoftmaxBackward(args);
}

void Kernels::Embedding(const EmbeddingArgs& args) {
  const int64_t rows = args.out.dim(0);
  CheckElement(args.table.dtype, "table");
  CheckDims(args.out, {rows, args.table.dim(1)}, args.table.dtype, "out");
  CheckDType(args.table, args.table.dtype, "table");
  CheckTokens(args.tokens, rows, "tokens");
  CountElementwise(args.table.dtype, 0, 2 * args.out.size_bytes());
  table_.Embedding(args);
}

void Kernels::EmbeddingBackward(const EmbeddingBackwardArgs& args) {
  const int64_t rows = args.dout.dim(0);
  CheckElement(args.dout.dtype, "dout");
  CheckDims(args.dout, {rows, args.dtable.dim(1)}, args.dout.dtype, "dout");
  CheckF32(args.dtable, "dtable");
  CheckTokens(args.tokens, rows, "tokens");
  CountElementwise(args.dout.dtype, args.dout.size(),
                   args.dout.size_bytes() + 2 * args.dout.size() * SizeOf(DType::kF32));
  table_.EmbeddingBackward(args);
}

void Kernels::CrossEntropy(const CrossEntropyArgs& args) {
  const int64_t rows = args.logits.dim(0);
  CheckDims(args.logits, {rows, args.logits.dim(1)}, "logits");
  CheckDims(args.loss, {rows}, "loss");
  CheckTokens(args.labels, rows, "labels");
  int64_t gradient_bytes = 0;
  if (args.gradient.rank != 0) {
    CheckElement(args.gradient.dtype, "gradient");
    CheckShape(args.gradient, {rows, args.logits.dim(1)}, "gradient");
    Check(args.gradient.dim(1) <= 1 || args.gradient.stride[1] == 1,
          "gradient without a unit stride");
    gradient_bytes = args.gradient.size_bytes();
  }
  CountElementwise(DType::kF32, 5 * args.logits.size(), args.logits.size_bytes() + gradient_bytes);
  table_.CrossEntropy(args);
}

void Kernels::Add(const AddArgs& args) {
  CheckElement(args.x.dtype, "x");
  CheckDType(args.x, args.x.dtype, "x");
  CheckDType(args.y, args.x.dtype, "y");
  Check(args.x.size() == args.y.size(), "add of {} to {}", args.x, args.y);
  CountElementwise(args.x.dtype, args.y.size(), 3 * args.y.size_bytes());
  table_.Add(args);
}

void Kernels::Convert(const ConvertArgs& args) {
  CheckElement(args.from.dtype, "what is converted");
  CheckElement(args.to.dtype, "the converted");
  Check(args.from.contiguous() && args.to.contiguous() && args.from.size() == args.to.size() &&
            args.from.dtype != args.to.dtype,
        "conversion of {} to {}", args.from, args.to);
  CountElementwise(DType::kBF16, 0, args.from.size_bytes() + args.to.size_bytes());
  table_.Convert(args);
}

void Kernels::AdamW(const AdamWArgs& args) {
  const int64_t size = args.parameter.size();
  for (const ConstView& view : {ConstView(args.parameter), ConstView(args.gradient),
                                ConstView(args.first_moment), ConstView(args.second_moment)}) {
    CheckF32(view, "an AdamW tensor");
    Check(view.size() == size, "AdamW tensors differ in size");
  }
  int64_t working_bytes = 0;
  if (args.working.rank != 0) {
    CheckDType(args.working, DType::kBF16, "the working copy");
    Check(args.working.size() == size, "AdamW tensors differ in size");
    working_bytes = args.working.size_bytes();
  }
  CountElementwise(DType::kF32, 12 * size, 7 * args.parameter.size_bytes() + working_bytes);
  table_.AdamW(args);
}

void Kernels::Zero(View view) {
  Check(view.contiguous(), "zero of the strided {}", view);
  CountElementwise(DType::kF32, 0, view.size_bytes());
  table_.Zero(view);
}

void Kernels::Copy(ConstView from, View to) {
  Check(from.contiguous() && to.contiguous() && from.dtype == to.dtype && from.size() == to.size(),
        "copy of {} to {}", from, to);
  CountElementwise(DType::kF32, 0, 2 * to.size_bytes());
  table_.Copy(from, to);
}

void Kernels::CopyStrided(const CopyStridedArgs& args) {
  const ConstView& from = args.from;
  const View& to = args.to;
  const auto last = static_cast<size_t>(to.rank - 1);
  Check(from.rank == to.rank && from.shape == to.shape && from.dtype == to.dtype &&
            from.stride[last] == 1 && to.stride[last] == 1 &&
            (!args.accumulate || to.dtype == DType::kF32),
        "strided {} of {} to {}", args.accumulate ? "add" : "copy", from.ToString(), to.ToString());
  CountElementwise(to.dtype, args.accumulate ? to.size() : 0,
                   (args.accumulate ? 3 : 2) * to.size_bytes());
  table_.CopyStrided(args);
}

void Kernels::CopyFromHost(const void* from, View to) {
  Check(to.contiguous(), "copy to the strided {}", to);
  table_.CopyFromHost(from, to);
}

void Kernels::CopyToHost(ConstView from, void* to) {
  Check(from.contiguous(), "copy of the strided {}", from);
  table_.CopyToHost(from, to);
}

double Kernels::SumOfSquares(ConstView view) {
  CheckF32(view, "the summed tensor");
  CountElementwise(DType::kF32, 2 * view.size(), view.size_bytes());
  return table_.SumOfSquares(view);
}

double Kernels::Sum(ConstView view) {
  CheckF32(view, "the summed tensor");
  CountElementwise(DType::kF32, view.size(), view.size_bytes());
  return table_.Sum(view);
}

AttentionForwardArgs Kernels::AttentionForwardBegin(const AttentionProblem& problem, ConstView q) {
  CheckProblem(problem);
  CheckQueryShaped(problem, q, "q");
  const int64_t bytes = table_.AttentionForwardStateBytes(problem);
  const View state =
      memory_.Allocate(DType::kByte, {bytes}, MemoryCategory::kAttention, "attention state");
  const AttentionForwardArgs args{problem, q, state};
  CountElementwise(q.dtype, 0, q.size_bytes() + bytes);
  table_.AttentionForwardBegin(args);
  return args;
}

View Kernels::PrepareForwardFold(const AttentionForwardArgs& args, const KeyBlock& block,
                                 int64_t output_bytes) {
  Count(
      {.work = RateClass::kAttentionForward,
       .dtype = args.problem.dtype,
       .head_dim = args.problem.head_dim,
       .flops = 4 * args.problem.head_dim * AttentionPairs(args.problem, block),
       .bytes = args.q.size_bytes() + block.k.size_bytes() + block.v.size_bytes() + output_bytes});
  return Scratch(table_.AttentionForwardScratchBytes(args.problem, block.positions.tokens()));
}

void Kernels::AttentionForwardFold(const AttentionForwardArgs& args, const KeyBlock& block) {
  CheckKeys(args.problem, block);
  MemoryScope scope(memory_);
  table_.AttentionForwardFold(args, block, PrepareForwardFold(args, block, 0));
}

void Kernels::AttentionForwardLast(const AttentionForwardArgs& args, const KeyBlock& block,
                                   const AttentionOutputs& outputs) {
  CheckKeys(args.problem, block);
  CheckOutputs(args.problem, outputs);
  MemoryScope scope(memory_);
  table_.AttentionForwardLast(args, block, outputs,
                              PrepareForwardFold(args, block, BytesOf(outputs)));
}

void Kernels::AttentionForwardFinish(const AttentionForwardArgs& args,
                                     const AttentionOutputs& outputs) {
  CheckOutputs(args.problem, outputs);
  CountElementwise(args.problem.dtype, 0, args.state.size_bytes() + BytesOf(outputs));
  table_.AttentionForwardFinish(args, outputs);
}

AttentionBackwardArgs Kernels::AttentionBackwardBegin(const AttentionProblem& problem,
                                                      const BackwardInputs& inputs) {
  CheckProblem(problem);
  CheckQueryShaped(problem, inputs.q, "q");
  CheckQueryShaped(problem, inputs.out, "out");
  CheckQueryShaped(problem, inputs.dout, "dout");
  CheckDims(inputs.lse, {problem.batch, problem.heads, problem.query_tokens()}, "lse");
  const int64_t bytes = table_.AttentionBackwardStateBytes(problem);
  const View state =
      memory_.Allocate(DType::kByte, {bytes}, MemoryCategory::kAttention, "attention state");
  const AttentionBackwardArgs args{problem, inputs.q, inputs.out, inputs.dout, inputs.lse, state};
  CountElementwise(inputs.q.dtype, 0, 3 * inputs.q.size_bytes() + bytes);
  table_.AttentionBackwardBegin(args);
  return args;
}

void Kernels::AttentionBackwardFold(const AttentionBackwardArgs& args, const KeyBlock& block,
                                    const KeyBlockGradient& gradient) {
  const AttentionProblem& p = args.problem;
  CheckKeys(p, block);
  CheckKeyGradient(p, block, gradient.dk);
  CheckKeyGradient(p, block, gradient.dv);
  Count(
      {.work = RateClass::kAttentionBackward,
       .dtype = p.dtype,
       .head_dim = p.head_dim,
       .flops = 10 * p.head_dim * AttentionPairs(p, block),
       .bytes = 2 * args.q.size_bytes() + 2 * block.k.size_bytes() + 2 * gradient.dk.size_bytes()});
  const int64_t bytes = table_.AttentionBackwardScratchBytes(p, block.positions.tokens());
  MemoryScope scope(memory_);
  table_.AttentionBackwardFold(args, block, gradient, Scratch(bytes));
}

void Kernels::AttentionBackwardFinish(const AttentionBackwardArgs& args, View dq) {
  CheckQueryShaped(args.problem, dq, "dq");
  CountElementwise(dq.dtype, 0, args.state.size_bytes() + dq.size_bytes());
  table_.AttentionBackwardFinish(args, dq);
}

}  // namespace annulus::kernels
