// `annulus bench wall`: where attention's n^2 overtakes the rest of a layer, in time and in memory.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/bench/bench_setup.h"
#include "runtime/bench/rounds.h"
#include "runtime/bench/statistics.h"

namespace annulus::runtime {

enum class WallPart : uint8_t { kFused, kNaive, kMlp };
inline constexpr std::array kWallParts = {WallPart::kMlp, WallPart::kFused, WallPart::kNaive};
std::string_view NameOf(WallPart part);

// Forward and backward of one part of a layer.
struct WallRow {
  int64_t n = 0;
  WallPart part{};
  double forward_ms = 0;
  double backward_ms = 0;
  PassSummary both = {};         // `ms` is that of forward and backward
  int64_t activation_bytes = 0;  // peak of both passes, without weights and their gradients
};

struct WallReport {
  AttentionCase shape;  // of the largest n
  int threads = 1;      // or kOnDevice
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;
  int64_t rounds = 0;
  std::vector<WallRow> rows;         // by n, then part
  std::vector<std::string> skipped;  // one sentence each
  std::string stopped;               // why no larger n was measured

  std::vector<Point> Times(WallPart part) const;   // ms over n
  std::vector<Point> Memory(WallPart part) const;  // bytes over n
  // Times at the n at which both were measured.
  struct Comparison {
    std::vector<Point> part;
    std::vector<Point> mlp;
  };
  Comparison WithMlp(WallPart part) const;
  // n from which `part` takes more time than the MLP.
  std::optional<double> Crossover(WallPart part) const;
};

// Doubles n from the least to the greatest of bench.n (by default 1024 to 65536). A part that
// outgrows bench.memory_bytes or bench.time_s is left out from there on. `bench` is resolved for
// `device`. Throws ConfigError where another list has more than one entry.
WallReport RunWallBench(const BenchOptions& bench, const Progress& progress,
                        const DeviceOptions& device = {});

}  // namespace annulus::runtime
