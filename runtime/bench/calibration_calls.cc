#include "runtime/bench/calibration_calls.h"

#include <cmath>

#include "kernels/dry/dry_table.h"

namespace annulus::runtime {
namespace {

using kernels::ConstView;
using kernels::DType;
using kernels::MemoryCategory;
using kernels::RateClass;
using kernels::View;

constexpr int64_t kHeads = 4;

View Random(const WorkloadContext& context, DType dtype, std::initializer_list<int64_t> dims) {
  const View view =
      context.memory.Allocate(dtype, dims, MemoryCategory::kActivations, "calibration");
  FillRandom(context.kernels, view, 1, 0.1);
  return view;
}

// c [m,n] = a [m,k] b [k,n] as layers take it: b of rows that are outputs, or, where `of_weight`,
// the gradient of weights, a sum over tokens in f32.
CalibrationCall Product(DType dtype, int64_t m, int64_t n, int64_t k, bool of_weight) {
  return {.work = RateClass::kMatMul, .dtype = dtype, .make = [=](const WorkloadContext& context) {
            const View a = of_weight ? Random(context, dtype, {k, m}).Transposed()
                                     : Random(context, dtype, {m, k});
            const View b = of_weight ? Random(context, dtype, {k, n})
                                     : Random(context, dtype, {n, k}).Transposed();
            const View c = Random(context, of_weight ? DType::kF32 : dtype, {m, n});
            return [=, &kernels = context.kernels] {
              kernels.MatMul({.a = a, .b = b, .c = c, .accumulate = of_weight});
            };
          }};
}

void AddProducts(const CalibrationSizes& sizes, DType dtype, std::vector<CalibrationCall>& calls) {
  for (const CalibrationSizes::Layer& layer : sizes.layers) {
    for (const int64_t tokens : sizes.tokens) {
      calls.push_back(Product(dtype, tokens, layer.out, layer.in, false));
      calls.push_back(Product(dtype, tokens, layer.in, layer.out, false));
      calls.push_back(Product(dtype, layer.out, layer.in, tokens, true));
    }
  }
}

template <class Call>
CalibrationCall Elementwise(DType dtype, Call call) {
  return {.work = RateClass::kElementwise, .dtype = dtype, .make = std::move(call)};
}

// The kernels of a layer over [rows, width] activations, each as often as a layer calls it.
void AddActivations(DType dtype, int64_t rows, int64_t width, std::vector<CalibrationCall>& calls) {
  calls.push_back(Elementwise(dtype, [=](const WorkloadContext& context) {
    const View x = Random(context, dtype, {rows, width}), y = Random(context, dtype, {rows, width});
    const View weight = Random(context, dtype, {width}),
               rstd = Random(context, DType::kF32, {rows});
    return [=, &kernels = context.kernels] {
      kernels.RmsNorm({.x = x, .weight = weight, .y = y, .rstd = rstd});
    };
  }));
  calls.push_back(Elementwise(dtype, [=](const WorkloadContext& context) {
    const View x = Random(context, dtype, {rows, width}),
               dy = Random(context, dtype, {rows, width});
    const View dx = Random(context, dtype, {rows, width}), weight = Random(context, dtype, {width});
    const View rstd = Random(context, DType::kF32, {rows});
    const View dweight = Random(context, DType::kF32, {width});
    return [=, &kernels = context.kernels] {
      kernels.RmsNormBackward(
          {.dy = dy, .x = x, .weight = weight, .rstd = rstd, .dx = dx, .dweight = dweight});
    };
  }));
  calls.push_back(Elementwise(dtype, [=](const WorkloadContext& context) {
    const View gate = Random(context, dtype, {rows, width}),
               up = Random(context, dtype, {rows, width});
    const View y = Random(context, dtype, {rows, width});
    return [=, &kernels = context.kernels] { kernels.SwiGlu({.gate = gate, .up = up, .y = y}); };
  }));
  calls.push_back(Elementwise(dtype, [=](const WorkloadContext& context) {
    const View gate = Random(context, dtype, {rows, width}),
               up = Random(context, dtype, {rows, width});
    const View dy = Random(context, dtype, {rows, width});
    const View dgate = Random(context, dtype, {rows, width});
    return [=, &kernels = context.kernels] {
      kernels.SwiGluBackward({.dy = dy, .gate = gate, .up = up, .dgate = dgate, .dup = up});
    };
  }));
  calls.push_back(Elementwise(dtype, [=](const WorkloadContext& context) {
    const View x = Random(context, dtype, {1, rows, width / 32, 32});
    const View cosine = Random(context, DType::kF32, {rows, 16});
    const View sine = Random(context, DType::kF32, {rows, 16});
    return
        [=, &kernels = context.kernels] { kernels.Rope({.x = x, .cosine = cosine, .sine = sine}); };
  }));
  calls.push_back(Elementwise(dtype, [=](const WorkloadContext& context) {
    const View x = Random(context, dtype, {rows, width}), y = Random(context, dtype, {rows, width});
    return [=, &kernels = context.kernels] { kernels.Copy(x, y); };
  }));
}

// Begin and Finish of attentions, which pass over queries, outputs and state.
void AddAttentionEnds(DType dtype, int64_t tokens, std::vector<CalibrationCall>& calls) {
  calls.push_back(Elementwise(dtype, [=](const WorkloadContext& context) {
    const View q = Random(context, dtype, {1, tokens, kHeads, 64});
    const View lse = Random(context, DType::kF32, {1, kHeads, tokens});
    const kernels::AttentionProblem problem{
        .heads = kHeads,
        .kv_heads = kHeads,
        .head_dim = 64,
        .dtype = dtype,
        .queries = kernels::Positions({.start = 0, .stride = 1, .count = tokens}),
        .mask = {.kind = kernels::MaskKind::kCausal, .length = tokens}};
    return [=, &kernels = context.kernels, &memory = context.memory] {
      kernels::MemoryScope scope(memory);
      const auto args = kernels.AttentionForwardBegin(problem, q);
      kernels.AttentionForwardFinish(args, {q, lse});
    };
  }));
}

// What works on parameters and logits is f32 in every model.
void AddParameters(int64_t size, std::vector<CalibrationCall>& calls) {
  calls.push_back(Elementwise(DType::kF32, [=](const WorkloadContext& context) {
    const View p = Random(context, DType::kF32, {size}), g = Random(context, DType::kF32, {size});
    const View m = Random(context, DType::kF32, {size}), v = Random(context, DType::kF32, {size});
    return [=, &kernels = context.kernels] {
      kernels.Zero(v);
      kernels.AdamW({.parameter = p, .gradient = g, .first_moment = m, .second_moment = v});
      kernels.SumOfSquares(g);
    };
  }));
  calls.push_back(Elementwise(DType::kF32, [=](const WorkloadContext& context) {
    constexpr int64_t kVocabulary = 256;
    const int64_t rows = size / kVocabulary;
    const View logits = Random(context, DType::kF32, {rows, kVocabulary});
    const View loss = Random(context, DType::kF32, {rows});
    const View labels =
        context.memory.Allocate(DType::kI32, {rows}, MemoryCategory::kBatch, "calibration");
    context.kernels.Zero(labels);
    return [=, &kernels = context.kernels] {
      kernels.CrossEntropy({.logits = logits, .labels = labels, .loss = loss, .gradient = logits});
    };
  }));
}

// Tokens attend to the same ones (causal) or to as many earlier ones.
struct FoldShape {
  DType dtype{};
  int64_t head_dim = 64;
  int64_t tokens = 0;
  bool causal = true;
};

kernels::AttentionProblem ProblemOf(const FoldShape& shape) {
  const int64_t length = shape.causal ? shape.tokens : 2 * shape.tokens;
  return {.heads = kHeads,
          .kv_heads = kHeads,
          .head_dim = shape.head_dim,
          .scale = 1.0f / std::sqrt(static_cast<float>(shape.head_dim)),
          .dtype = shape.dtype,
          .queries = kernels::Positions({length - shape.tokens, 1, shape.tokens}),
          .mask = {.kind = kernels::MaskKind::kCausal, .length = length}};
}

View Tensor(const WorkloadContext& context, const FoldShape& shape, DType dtype) {
  return Random(context, dtype, {1, shape.tokens, kHeads, shape.head_dim});
}

kernels::KeyBlock Keys(const WorkloadContext& context, const FoldShape& shape) {
  return {Tensor(context, shape, shape.dtype), Tensor(context, shape, shape.dtype),
          kernels::Positions({0, 1, shape.tokens})};
}

MakeCall ForwardFold(const FoldShape& shape, kernels::Meanwhile meanwhile = {}) {
  return [=](const WorkloadContext& context) -> std::function<void()> {
    const kernels::KeyBlock keys = Keys(context, shape);
    auto args = context.kernels.AttentionForwardBegin(ProblemOf(shape),
                                                      Tensor(context, shape, shape.dtype));
    args.meanwhile = meanwhile;
    return [=, &kernels = context.kernels] { kernels.AttentionForwardFold(args, keys); };
  };
}

MakeCall BackwardFold(const FoldShape& shape) {
  return [=](const WorkloadContext& context) -> std::function<void()> {
    const kernels::KeyBlock keys = Keys(context, shape);
    const kernels::KeyBlockGradient gradient{Tensor(context, shape, DType::kF32),
                                             Tensor(context, shape, DType::kF32)};
    const auto args = context.kernels.AttentionBackwardBegin(
        ProblemOf(shape), {.q = Tensor(context, shape, shape.dtype),
                           .out = Tensor(context, shape, shape.dtype),
                           .dout = Tensor(context, shape, shape.dtype),
                           .lse = Random(context, DType::kF32, {1, kHeads, shape.tokens})});
    return [=, &kernels = context.kernels] { kernels.AttentionBackwardFold(args, keys, gradient); };
  };
}

void AddFolds(const FoldShape& shape, std::vector<CalibrationCall>& calls) {
  calls.push_back({.work = RateClass::kAttentionForward,
                   .dtype = shape.dtype,
                   .head_dim = shape.head_dim,
                   .make = ForwardFold(shape)});
  calls.push_back({.work = RateClass::kAttentionBackward,
                   .dtype = shape.dtype,
                   .head_dim = shape.head_dim,
                   .make = BackwardFold(shape)});
}

}  // namespace

MakeCall AttentionFold(DType dtype, int64_t head_dim, int64_t tokens,
                       kernels::Meanwhile meanwhile) {
  return ForwardFold({.dtype = dtype, .head_dim = head_dim, .tokens = tokens, .causal = false},
                     std::move(meanwhile));
}

int64_t DryPeak(const kernels::KernelTable& table,
                const std::function<void(const WorkloadContext&)>& body) {
  Arena arena = Arena::Dry();
  kernels::DryTable dry(table);
  kernels::Kernels kernels(dry, arena);
  body({kernels, arena});
  return arena.ledger().peak_bytes();
}

std::vector<CalibrationCall> CalibrationCalls(const CalibrationSizes& sizes, DType dtype,
                                              std::span<const int64_t> head_sizes) {
  std::vector<CalibrationCall> calls;
  AddProducts(sizes, dtype, calls);
  for (const int64_t rows : sizes.tokens) {
    for (const int64_t width : sizes.widths) AddActivations(dtype, rows, width, calls);
    AddAttentionEnds(dtype, rows, calls);
  }
  for (const int64_t head_dim : head_sizes) {
    for (const int64_t tokens : sizes.attention_tokens) {
      for (const bool causal : {true, false}) {
        AddFolds({.dtype = dtype, .head_dim = head_dim, .tokens = tokens, .causal = causal}, calls);
      }
    }
  }
  return calls;
}

std::vector<CalibrationCall> F32Calls(const CalibrationSizes& sizes) {
  std::vector<CalibrationCall> calls;
  for (const int64_t size : sizes.parameters) AddParameters(size, calls);
  return calls;
}

}  // namespace annulus::runtime
