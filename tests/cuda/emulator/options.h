// How the emulator runs what CUDA leaves open: in which order threads, blocks and streams go, and
// when asynchronous instructions take effect.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace annulus::emulator {

// Who runs next among the threads of a block.
enum class Schedule : uint8_t {
  kInOrder,   // warps in turn, lanes from 0 on
  kPriority,  // one warp as far as it gets, lanes at random
  kRandom,    // any thread
};

// When an asynchronous action takes effect between its issue and the wait for it.
enum class Effect : uint8_t { kLazy, kEager, kRandom };

struct Options {
  Schedule schedule = Schedule::kInOrder;
  Effect copies = Effect::kLazy;   // cp.async, TMA and wgmma
  Effect streams = Effect::kLazy;  // kernels and copies on streams
  bool shuffle_blocks = false;     // the blocks of a grid in random order
  uint64_t seed = 1;
  bool detect_races = true;  // where kernels are compiled for it
  int preempt_one_in = 0;    // there too: give way at one in so many accesses; 0 is never

  int devices = 8;
  int capability = 90;  // of every device: 80, 86, 89, 90, 100
  int64_t device_memory_bytes = int64_t{2} << 30;

  int most_reports = 20;
  double patience_s = 60;  // that host threads wait for each other
};

// For all host threads; changed only while no work is pending. Starts as ANNULUS_EMULATOR says, as
// in "schedule=random copies=eager streams=random blocks=shuffled seed=7 devices=2 capability=80".
Options& TheOptions();
void SetOptions(const std::string& settings);

// Calls `run` once in order and lazily, once eagerly, and `seeds` times at random; `told` is what
// SetOptions would be told. Restores the options.
void ForEachSchedule(int seeds, const std::function<void(const std::string& told)>& run);

// Whether kernels are compiled for the race detector, and it is on.
bool RacesAreDetected();

// What was executed so far, by all host threads.
struct Counts {
  int64_t launches = 0, blocks = 0, switches = 0;
  int64_t mma = 0, wgmma = 0;
  int64_t ldmatrix = 0, ldmatrix_conflicts = 0;  // rows that met a bank in use
};
Counts TheCounts();

}  // namespace annulus::emulator
