// Parity: the loss and every parameter's gradient of N ranks against those of one.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "parallel/communicator.h"
#include "runtime/config/run_config.h"

namespace annulus::runtime {

// |g_N - g_1| / |g_1| over a parameter's elements, in the Euclidean norm.
struct GradientDifference {
  std::string parameter;
  double relative_error = 0;
};

struct ParityReport {
  int ranks = 1;
  int64_t length = 0;
  double loss_one = 0;    // of one rank
  double loss_many = 0;   // of all of them
  double loss_error = 0;  // relative
  std::vector<GradientDifference> gradients = {};
  double tolerance = 0;

  double WorstError() const;
  bool Passed() const { return WorstError() <= tolerance; }
};

// What f32 sums in another order may differ by. bf16 models are allowed what rounding costs them on
// top, which CheckOnRank measures.
inline constexpr double kParityTolerance = 1e-5;

// One step's gradients of the whole of `world` and, on rank 0, of a single rank with the same
// configuration, data and parameters. For each phase of the context schedule. Collective; reports
// on rank 0, which also tells stderr what is wrong with the launch; empty on others.
std::vector<ParityReport> CheckOnRank(const RunConfig& config, parallel::Communicator& world);

std::string ParityTable(const std::vector<ParityReport>& reports);
nlohmann::ordered_json ToJson(const std::vector<ParityReport>& reports);

}  // namespace annulus::runtime
