// One row of `annulus bench scaling`: its configuration, what a plan says of it, and a step of it.
#pragma once

#include <span>
#include <string>

#include "kernels/base/kernel_table.h"
#include "parallel/communicator.h"
#include "runtime/bench/scaling_bench.h"
#include "runtime/model/decoder_shape.h"
#include "runtime/run/memory_sharing.h"

namespace annulus::runtime {

struct MachineModel;

struct ScalingCase {
  RunConfig config;  // validated for `row.ranks` ranks
  DecoderShape shape;
  ScalingRow row;
  MemorySharing sharing = {};  // among the row's ranks
  ParallelOptions open = {};   // what the choice of a strategy began with
};

// The rows up to as many ranks as there are `hosts`, by rank. Throws ConfigError.
std::vector<ScalingCase> ScalingCases(const RunConfig& config, std::span<const std::string> hosts);

// With memory shared as the case says, chooses the strategy where that is left open; fills in FLOPs
// and predicted bytes, and with a machine (which may be null) predicted times.
void Forecast(const kernels::KernelTable& table, const MachineModel* machine, ScalingCase& scaling);

// What one step took, on the rank that took longest.
struct StepSample {
  double roof_s = 0;  // right before
  double ms = 0;
  double exposed_ms = 0;
  int64_t bytes_sent = 0;  // by all ranks
};

// Gives up sharing memory where there is no room for it, and forecasts the case again. Collective
// over the case's ranks. Throws ConfigError on all of them where sharing is not to be given up.
void FitRoom(const kernels::KernelTable& table, const MachineModel* machine,
             parallel::Communicator& group, ScalingCase& scaling);

// A step by the ranks of `group`, who are the case's, after one that is not counted and `roof`,
// which computes by `table` too. Collective.
StepSample MeasureStep(const ScalingCase& scaling, kernels::KernelTable& table, Roof& roof,
                       parallel::Communicator& group);

}  // namespace annulus::runtime
