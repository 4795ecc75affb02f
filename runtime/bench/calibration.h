// `annulus bench calibrate`: the rates of this machine, for the launch it runs under.
#pragma once

#include <string>
#include <vector>

#include "parallel/communicator.h"
#include "runtime/bench/bench_setup.h"
#include "runtime/bench/rate_fit.h"
#include "runtime/machine/machine_model.h"

namespace annulus::runtime {

// How well one section of the file stands for what was measured.
struct CalibratedRate {
  std::string section;  // as in the file
  int64_t samples = 0;
  FitError error;
};

struct CalibrationReport {
  MachineModel machine;
  std::vector<CalibratedRate> rates;
  int64_t rounds = 0;
  std::vector<std::string> notes = {};
};

// Kernels in every bench.dtype, attention at every bench.head_dim, at several sizes, on all ranks
// at once so that they share caches and memory as in a run, then messages between neighbours.
// Medians over config.bench.repetitions rounds, then means over the ranks: the same report on every
// rank. Collective over `world`; a link needs two ranks that have it. Memory as bench.sizes says.
// Throws ConfigError as BenchRank does.
CalibrationReport Calibrate(const RunConfig& config, parallel::Communicator& world,
                            const Progress& progress);

std::string ToText(const CalibrationReport& report);

}  // namespace annulus::runtime
