// Attention over the whole sequences of a ring case, by plain loops.
#pragma once

#include "tests/parallel/ring_case.h"

namespace annulus::parallel {

class RingReference {
 public:
  template <class Real>
  struct Results {
    reference::AttentionOutput<Real> output;
    reference::AttentionGradients<Real> gradients;
  };

  explicit RingReference(const Whole& whole);

  // No further from float64 than twice a plain implementation in f32, and a few roundings.
  void ExpectMatch(const RingResults& results) const;

 private:
  Results<double> truth_;
  Results<float> plain_;
};

}  // namespace annulus::parallel
