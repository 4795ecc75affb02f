// `annulus bench scaling`: the training step over more and more ranks.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "parallel/communicator.h"
#include "runtime/bench/bench_setup.h"
#include "runtime/bench/rounds.h"
#include "runtime/bench/statistics.h"

namespace annulus::runtime {

// A step of one sequence length on the first `ranks` ranks.
struct ScalingRow {
  ScalingMode mode{};
  int ranks = 1;
  int64_t n = 0;
  std::string strategy = {};        // as in "hybrid 2 x 4"
  std::optional<int> devices = {};  // that these ranks have between them; nothing on cores
  double flops = 0;                 // of the model, over all ranks, recomputation included
  std::optional<Spread> ms = {};    // nothing where it was only predicted
  // The rate of FLOPs for each rank over that of one rank, both of the same round: at a fixed
  // sequence t(1) / (P t(P)); where the sequence grows, its attention's quadratic work is counted.
  // For each device instead where ranks share them: more ranks do not make more devices.
  std::optional<Spread> efficiency = {};
  std::optional<PassSummary> speed = {};  // of all ranks, beside the roof on all of them
  double exposed_comm_ms = 0;             // of the rank that stood longest
  int64_t bytes_sent = 0;                 // by all ranks
  int64_t predicted_bytes_sent = 0;
  std::optional<double> predicted_ms = {};  // with a machine file, as the next ones
  std::optional<double> predicted_exposed_comm_ms = {};
  std::optional<double> predicted_efficiency = {};
};

struct ScalingReport {
  std::vector<ScalingRow> rows;                 // by mode, then ranks
  int threads_per_rank = 1;                     // or kOnDevice
  kernels::DType dtype = kernels::DType::kF32;  // of the model
  std::string partition;                        // as parallel.partition names it
  int64_t rounds = 0;                           // 0: predicted only
  std::string machine;                          // name and file of the machine; "": none
  std::vector<std::string> notes;
};

// Steps of the model of `config` on random tokens, over 1, 2, 4, ... and all ranks. The ranks of a
// row share every sequence (parallel.context_size is their number); strong: of sequence_length
// tokens, weak: of sequence_length for each rank. A round goes through all rows; a row's ranks hold
// it only while it runs, and its first step is not counted. Collective over `world`; rank 0's
// report is whole. Throws ConfigError for what no run can follow, InternalError where bytes sent
// differ from those predicted.
ScalingReport RunScalingBench(const RunConfig& config, parallel::Communicator& world,
                              const Progress& progress);

// The same without running it, for up to `config.ranks` ranks. Requires a machine file.
ScalingReport ForecastScalingBench(const RunConfig& config);

}  // namespace annulus::runtime
