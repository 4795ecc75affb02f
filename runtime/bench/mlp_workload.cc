#include "runtime/bench/mlp_workload.h"

#include <cmath>

namespace annulus::runtime {
namespace {

using kernels::DType;
using kernels::MemoryCategory;
using kernels::MemoryScope;
using kernels::View;

class MlpWorkload final : public Workload {
 public:
  MlpWorkload(const MlpCase& shape, const WorkloadContext& context)
      : shape_(shape), context_(context) {
    const int64_t hidden = shape.hidden_size, wide = shape.intermediate_size;
    const auto weight = [&](int64_t out, int64_t in, Linear& linear) {
      linear.weight =
          context_.memory.Allocate(shape.dtype, {out, in}, MemoryCategory::kParameters, "mlp");
      linear.gradient =
          context_.memory.Allocate(DType::kF32, {out, in}, MemoryCategory::kGradients, "mlp");
    };
    weight(wide, hidden, gate_);
    weight(wide, hidden, up_);
    weight(hidden, wide, down_);
    x_ = Activation(hidden);
    gate_out_ = Activation(wide);
    up_out_ = Activation(wide);
    gated_ = Activation(wide);
    y_ = Activation(hidden);
  }

  void Fill() override {
    FillRandom(context_.kernels, x_, 1);
    uint64_t seed = 2;
    for (const Linear* linear : {&gate_, &up_, &down_}) {
      FillRandom(context_.kernels, linear->weight, seed++,
                 1 / std::sqrt(static_cast<double>(linear->weight.dim(1))));
    }
  }

  void Forward() override {
    Apply(x_, gate_, gate_out_);
    Apply(x_, up_, up_out_);
    context_.kernels.SwiGlu({.gate = gate_out_, .up = up_out_, .y = gated_});
    Apply(gated_, down_, y_);
  }

  void PrepareBackward() override {
    dy_ = Activation(shape_.hidden_size);
    dx_ = Activation(shape_.hidden_size);
    context_.kernels.Copy(y_, dy_);
  }

  void Backward() override {
    kernels::Kernels& kernels = context_.kernels;
    MemoryScope scope(context_.memory);
    const View dgated = Activation(shape_.intermediate_size);
    WeightGradient(dy_, gated_, down_);
    kernels.MatMul({.a = dy_, .b = down_.weight, .c = dgated});
    kernels.SwiGluBackward(
        {.dy = dgated, .gate = gate_out_, .up = up_out_, .dgate = gate_out_, .dup = up_out_});
    WeightGradient(gate_out_, x_, gate_);
    WeightGradient(up_out_, x_, up_);
    kernels.MatMul({.a = gate_out_, .b = gate_.weight, .c = dx_});
    kernels.MatMul({.a = up_out_, .b = up_.weight, .c = dx_, .accumulate = true});
  }

  int64_t forward_flops() const override {
    return 6 * shape_.rows * shape_.hidden_size * shape_.intermediate_size;
  }
  int64_t backward_flops() const override { return 2 * forward_flops(); }

 private:
  struct Linear {
    View weight;    // [out,in]
    View gradient;  // [out,in] f32
  };

  View Activation(int64_t width) {
    return context_.memory.Allocate(shape_.dtype, {shape_.rows, width},
                                    MemoryCategory::kActivations, "mlp");
  }
  void Apply(View x, const Linear& linear, View y) {
    context_.kernels.MatMul({.a = x, .b = linear.weight.Transposed(), .c = y});
  }
  void WeightGradient(View dy, View x, const Linear& linear) {
    context_.kernels.MatMul({.a = dy.Transposed(), .b = x, .c = linear.gradient});
  }

  MlpCase shape_;
  WorkloadContext context_;
  Linear gate_, up_, down_;
  View x_, gate_out_, up_out_, gated_, y_, dy_, dx_;
};

}  // namespace

std::unique_ptr<Workload> NewMlp(const MlpCase& shape, const WorkloadContext& context) {
  return std::make_unique<MlpWorkload>(shape, context);
}

}  // namespace annulus::runtime
