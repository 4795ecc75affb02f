// `annulus bench attention`: how near attention comes to the rate of large matrix products.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "runtime/bench/bench_setup.h"
#include "runtime/bench/rounds.h"

namespace annulus::runtime {

// One pass of one implementation.
struct AttentionRow {
  AttentionCase shape;
  int threads = 1;  // or kOnDevice
  AttentionMethod implementation{};
  bool backward = false;
  PassSummary speed = {};  // FLOPs are those of the allowed pairs, whatever was computed
  int64_t rounds = 0;
  int64_t peak_bytes = 0;
  double area = 1;  // allowed pairs / n^2
  // The time over that of the full mask, both in units of the roof's time right before: 1 * area
  // where a mask costs what its area costs. Where the full mask was measured too.
  std::optional<double> time_over_full = {};
};

// What was not measured.
struct SkippedCase {
  AttentionCase shape;
  int threads = 1;
  AttentionMethod implementation{};
  std::string reason;
};

struct AttentionReport {
  std::vector<AttentionRow> rows;  // forward and backward of a case follow one another
  std::vector<SkippedCase> skipped;
};

// Measures every combination of the lists of `bench`, resolved for `device`.
AttentionReport RunAttentionBench(const BenchOptions& bench, const Progress& progress,
                                  const DeviceOptions& device = {});

}  // namespace annulus::runtime
