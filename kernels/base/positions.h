// The global positions of a rank's local tokens, as a few arithmetic progressions.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "kernels/base/error.h"

namespace annulus::kernels {

// Positions start, start + stride, ..., `count` of them. stride >= 1.
struct PositionRun {
  int64_t start = 0;
  int64_t stride = 1;
  int64_t count = 0;

  int64_t at(int64_t i) const { return start + i * stride; }
  // Requires count > 0.
  int64_t last() const { return at(count - 1); }
  PositionRun Sub(int64_t begin, int64_t length) const { return {at(begin), stride, length}; }
};

// Local token t of every sequence of a rank sits at global position at(t): the runs one after the
// other. Contiguous and striped partitions need one run, zigzag two.
class Positions {
 public:
  Positions() = default;
  explicit Positions(PositionRun run) { Append(run); }

  void Append(PositionRun run) {
    if (run.count == 0) return;
    Check(run.stride >= 1 && run.count > 0, "a position run needs a positive stride and count");
    Check(runs_ < kMaxRuns, "positions hold at most {} runs", kMaxRuns);
    run_[static_cast<size_t>(runs_++)] = run;
    tokens_ += run.count;
  }

  int runs() const { return runs_; }
  const PositionRun& run(int i) const { return run_[static_cast<size_t>(i)]; }
  int64_t tokens() const { return tokens_; }

  int64_t at(int64_t token) const {
    int i = 0;
    while (token >= run(i).count) token -= run(i++).count;
    return run(i).at(token);
  }

  // Those of `count` local tokens from `begin` on.
  Positions Slice(int64_t begin, int64_t count) const {
    Check(begin >= 0 && count >= 0 && begin + count <= tokens_, "tokens [{}, {}) of {}", begin,
          begin + count, tokens_);
    Positions slice;
    for (int i = 0; i < runs_; ++i) {
      const int64_t skipped = std::min(begin, run(i).count);
      const int64_t taken = std::min(count, run(i).count - skipped);
      slice.Append(run(i).Sub(skipped, taken));
      begin -= skipped;
      count -= taken;
    }
    return slice;
  }

  static constexpr int kMaxRuns = 4;

 private:
  std::array<PositionRun, kMaxRuns> run_{};
  int runs_ = 0;
  int64_t tokens_ = 0;
};

}  // namespace annulus::kernels
