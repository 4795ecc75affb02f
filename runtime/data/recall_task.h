// A synthetic task that only distant attention solves.
#pragma once

#include "runtime/data/dataset.h"

namespace annulus::runtime {

// The first h = ceil(length / 2) tokens of a sequence are independent and uniform over the
// vocabulary; the rest repeat them from the start: token(p) = token(p - h) for p >= h. Only the
// positions of TaskPositions, [h - 1, length - 1), are targets: their labels are those repeated
// tokens. Label i of them stands h - 1 positions before position i, so with a sharded sequence most
// of them lie on another rank. The labels before are noise that nothing can predict, and no
// targets: trained on as well, they keep small models from learning the rest.
//
// It is a copy over a fixed offset. A model that solves it attends, and trains attention, across
// ranks; it need not find the place by content, so it is no test of induction. A loss below
// ln(vocabulary) cannot be had otherwise, because the labels are independent of anything nearer.
class RecallTask : public Dataset {
 public:
  // Throws ConfigError unless 2 <= vocab_size < 2^31.
  RecallTask(int64_t vocab_size, uint64_t seed);

  int64_t vocab_size() const override { return vocab_size_; }
  void CheckLength(int64_t length) const override;
  void TrainSequence(int64_t index, int64_t length, const kernels::Positions& positions,
                     int32_t* tokens, int32_t* labels) const override;
  int64_t HeldOutSequences(int64_t length) const override;
  void HeldOutSequence(int64_t index, int64_t length, const kernels::Positions& positions,
                       int32_t* tokens, int32_t* labels) const override;
  PositionRange TaskPositions(int64_t length) const override;
  std::string Describe() const override;

  // There is no end of them; so many are enough for a mean.
  static constexpr int64_t kHeldOutSequences = 16;

 private:
  int64_t vocab_size_;
  uint64_t seed_;
};

}  // namespace annulus::runtime
