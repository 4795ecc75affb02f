// Products of warpgroups that a warp has under way. Every warp of a warpgroup has a queue; that
// their products are the same is checked once the block is done.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <vector>

#include "tests/cuda/emulator/race_detector.h"
#include "tests/cuda/emulator/report.h"

namespace annulus::emulator {

// A product of the warp's rows that was issued.
struct WgmmaProduct {
  std::array<float*, 32> registers;        // of each lane; lane 0's name the accumulators
  int count = 0;                           // registers of a lane
  std::function<void(float* values)> act;  // values [32][count]
  std::vector<SharedAccess> reads;         // while it is under way
  uint64_t fingerprint = 0;                // the same for all warps of the warpgroup
};

class WgmmaQueue {
 public:
  // Registers may have been written; products may follow.
  void Fence() { fenced_ = true; }
  void Issue(WgmmaProduct product, Place at);
  void Commit();
  void Wait(int pending);
  // As the warp exits.
  void CheckExit() const;

  uint64_t sequence() const { return sequence_; }

 private:
  struct Accumulators {
    std::array<float*, 32> registers;
    int count = 0;
    std::vector<float> values;  // [32][count]
    int pending = 0;            // products not retired
    int queued = 0;             // of them not computed
  };

  Accumulators& Take(const WgmmaProduct& product, Place at);
  void Retire(WgmmaProduct& product);

  std::map<float*, Accumulators> accumulators_;
  std::vector<WgmmaProduct> open_;
  std::deque<std::vector<WgmmaProduct>> groups_;
  bool fenced_ = false;
  uint64_t sequence_ = 0;
};

// The products of the warps of every warpgroup were the same.
void CheckWgmmaSequences();

}  // namespace annulus::emulator
