// The block that a host thread executes: its threads as fibers, its warps, barriers, shared memory
// and what is under way asynchronously. Blocks run one after another on the host thread that runs
// their kernel; other host threads run other kernels.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "tests/cuda/emulator/block_place.h"
#include "tests/cuda/emulator/fiber.h"
#include "tests/cuda/emulator/launch.h"
#include "tests/cuda/emulator/options.h"
#include "tests/cuda/emulator/random.h"
#include "tests/cuda/emulator/report.h"
#include "tests/cuda/emulator/runtime_types.h"
#include "tests/cuda/emulator/shared_memory.h"

namespace annulus::emulator {

class RaceDetector;
class WgmmaQueue;

enum class ThreadState : uint8_t { kReady, kBlocked, kDone };

// A cp.async that was issued and not waited for.
struct PendingCopy {
  uint32_t to;
  const std::byte* from;
  uint32_t bytes;   // written
  uint32_t source;  // of them read, the rest is 0
  Place at;
};
using CopyGroup = std::vector<PendingCopy>;

// A sum by the copy engine that was issued and not waited for.
struct PendingSum {
  float* to;
  uint32_t from, bytes;
  Place at;
  std::vector<float> values;  // once shared memory was read
  bool is_added = false;
  bool is_read = false;  // and that was waited for
};
using SumGroup = std::vector<std::shared_ptr<PendingSum>>;

struct Thread {
  Fiber fiber;
  int index = 0, lane = 0, warp = 0;
  uint3 position{};
  ThreadState state = ThreadState::kDone;
  const char* waits_for = "";
  Place waits_at = nullptr;
  int registers = 0;                   // that it has
  int barrier_tally = 0;               // of the last __syncthreads
  CopyGroup open_copies;               // since the last commit
  std::vector<CopyGroup> copy_groups;  // committed, oldest first
  SumGroup open_sums;
  std::vector<SumGroup> sum_groups;
};

// An instruction that lanes of a warp execute together, while they arrive.
struct Meeting {
  const char* name;
  uint32_t mask;
  uint32_t arrived;
  std::array<void*, 32> arguments;
  Place at;
};

struct Warp {
  uint32_t ready = 0, alive = 0;  // lanes
  uint32_t priority = 0;
  std::vector<Meeting> meetings;
  std::unique_ptr<WgmmaQueue> wgmma;  // null until the first

  Warp();
  Warp(Warp&&) noexcept;
  ~Warp();
};

struct Barrier {
  struct Arrival {
    int thread;
    Place at;
    bool waits;
  };
  int expected = 0;     // threads; of what arrived first
  bool of_all = false;  // of all threads that have not exited
  int tally = 0;        // threads whose predicate held, for __syncthreads_count
  std::vector<Arrival> arrivals;
};

struct Mbarrier {
  int count = 0, pending = 0;
  int64_t bytes = 0;  // of asynchronous copies still to come
  int phase = 0;
  std::vector<int> waiters;
};

// A bulk copy that was issued and has not taken effect.
using BulkAction = std::function<void()>;

struct LaunchShape {
  dim3 grid, block;
  size_t shared_bytes = 0;
  uint64_t serial = 0;  // of the launch
  int device = 0;
};

class Block {
 public:
  Block();
  ~Block();

  // Runs every thread of the block at `place`; false if it was given up.
  bool Run(const LaunchShape& shape, uint3 place, uint64_t linear, const KernelCall& call);

  // ---- For the running thread.

  void BlockOn(const char* what, Place at);
  void Yield();
  void Wake(int thread);
  void Wake(const std::vector<int>& threads_of) {
    for (const int thread : threads_of) Wake(thread);
  }
  // Ends the block after the current switch: its state is no longer of use.
  [[noreturn]] void GiveUp();

  int thread_count() const { return thread_count_; }
  int exited() const { return exited_; }
  bool EffectNow();  // whether what is issued now takes effect at once

  std::vector<Thread> threads;  // at least thread_count()
  std::vector<Warp> warps;
  std::array<Barrier, 16> barriers;
  std::map<uint32_t, Mbarrier> mbarriers;  // by shared address
  std::vector<BulkAction> bulk_actions;
  std::vector<int> word_waiters;  // threads that wait for words of memory
  int free_registers = 0;         // of the block, for its threads
  std::vector<int> register_waiters;
  SharedMemory shared;
  std::unique_ptr<RaceDetector> races;  // null unless they are looked for
  LaunchShape shape;
  uint64_t linear_index = 0;  // of the block in its grid
  Random random;
  bool in_emulator = true;  // accesses are not the kernel's
  const KernelCall* call = nullptr;

  const Stack& StackOf(const Thread& thread) const {
    return stacks_[static_cast<size_t>(thread.index)];
  }

  // The end of a fiber; called by its first function.
  [[noreturn]] void Exit();

 private:
  void Start();
  void Continue(Thread& thread);
  int Pick();
  bool RunBulkAction();
  void TellDeadlock() const;

  std::vector<Stack> stacks_;
  Fiber scheduler_;
  int thread_count_ = 0;
  int exited_ = 0;
  int last_warp_ = 0;
  int64_t switches_ = 0;
  bool given_up_ = false;
};

// Of this host thread: the block it executes and the running thread; null outside.
extern constinit thread_local Block* block;
extern constinit thread_local Thread* self;

// While it lives, accesses are the emulator's, not the kernel's.
class InEmulator {
 public:
  InEmulator() : before_(block->in_emulator) { block->in_emulator = true; }
  ~InEmulator() { block->in_emulator = before_; }
  InEmulator(const InEmulator&) = delete;
  InEmulator& operator=(const InEmulator&) = delete;

 private:
  bool before_;
};

}  // namespace annulus::emulator
