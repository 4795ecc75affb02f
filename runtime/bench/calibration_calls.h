// The kernel calls that a machine is calibrated by.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "kernels/base/call_cost.h"
#include "runtime/bench/calibration_sizes.h"
#include "runtime/bench/workload.h"

namespace annulus::runtime {

using MakeCall = std::function<std::function<void()>(const WorkloadContext&)>;

// A call of one kernel at one size.
struct CalibrationCall {
  kernels::RateClass work{};
  kernels::DType dtype{};
  int64_t head_dim = 0;
  // Pushes the tensors, does what comes before, and returns the call, which may be made repeatedly.
  MakeCall make;
};

// Products, layers' elementwise kernels and attentions of these head sizes in `dtype`, f32 or bf16.
std::vector<CalibrationCall> CalibrationCalls(const CalibrationSizes& sizes, kernels::DType dtype,
                                              std::span<const int64_t> head_sizes);

// Elementwise kernels on parameters and logits, which are f32 in every model.
std::vector<CalibrationCall> F32Calls(const CalibrationSizes& sizes);

// A fold of `tokens` queries and as many earlier keys, during which the table calls `meanwhile`.
MakeCall AttentionFold(kernels::DType dtype, int64_t head_dim, int64_t tokens,
                       kernels::Meanwhile meanwhile);

// The most memory that `body` takes when it is run dry.
int64_t DryPeak(const kernels::KernelTable& table,
                const std::function<void(const WorkloadContext&)>& body);

}  // namespace annulus::runtime
