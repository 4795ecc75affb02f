// Where a fold lets its caller in; see Meanwhile.
#pragma once

#include <cstdint>

#include "kernels/base/denormals.h"
#include "kernels/base/ops.h"

namespace annulus::kernels::cpu {

// Lets the caller's Meanwhile in between pieces of one thread's work.
class Interludes {
 public:
  // Only the calling thread, number 0 of its team, has any. All must outlive this.
  Interludes(const Meanwhile& meanwhile, int thread, const FlushDenormals& mode)
      : meanwhile_(meanwhile), wanted_(thread == 0 && meanwhile), mode_(mode) {}

  void After(int64_t flops) {
    if (!wanted_) return;
    flops_ += flops;
    if (flops_ < kFlops) return;
    flops_ = 0;
    mode_.Lift(meanwhile_);
  }

 private:
  static constexpr int64_t kFlops = 10'000'000;  // 100 us of a core's f32, 25 of its AMX

  const Meanwhile& meanwhile_;
  bool wanted_;
  const FlushDenormals& mode_;
  int64_t flops_ = 0;
};

}  // namespace annulus::kernels::cpu
