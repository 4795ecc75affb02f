// Measurement in rounds: in each of them the roof is measured right before the workload, so that
// their ratio means something on a machine whose speed changes from minute to minute.
#pragma once

#include <array>
#include <span>
#include <string>
#include <vector>

#include "parallel/communicator.h"
#include "runtime/bench/workload.h"

namespace annulus::runtime {

// A product of two large square matrices of `dtype`: the rate that this machine's cores reach when
// nothing but arithmetic limits them.
class Roof {
 public:
  // `table` must outlive this. Three matrices of size x size.
  Roof(kernels::KernelTable& table, kernels::DType dtype, int64_t size);

  double Seconds(Clock clock);
  double flops() const;

  // Why products of `dtype` on cores (or kOnDevice) are no measure of their arithmetic in it; "":
  // they are one.
  static std::string Caveat(kernels::DType dtype, int threads);

 private:
  Arena arena_;
  kernels::Kernels kernels_;
  std::array<kernels::View, 3> matrices_;  // the last one is the product
};

// Of the slowest of the ranks of `group`, which all multiply at once, each by its own roof.
// Collective.
double SecondsTogether(Roof& roof, Clock clock, parallel::Communicator& group);

// One round of one contestant.
struct Round {
  double roof_s = 0;
  double forward_s = 0;
  double backward_s = 0;
};

// After one round that is not counted, `repetitions` rounds of all `contestants` by turns, each
// with a measurement of the roof before it. One list of rounds per contestant.
std::vector<std::vector<Round>> RunRounds(std::span<Contestant* const> contestants, Roof& roof,
                                          Clock clock, int64_t repetitions);

// A pass over all rounds. Medians; the ratio is that of each round with its own roof.
struct PassSummary {
  double ms = 0;
  double gflops = 0;
  double roof_gflops = 0;
  double roof_ratio = 0;
  double roof_ratio_min = 0;
  double roof_ratio_max = 0;
};

// `seconds` of each round are for `flops`.
PassSummary Summarise(std::span<const Round> rounds, double (*seconds)(const Round&), double flops,
                      double roof_flops);

}  // namespace annulus::runtime
