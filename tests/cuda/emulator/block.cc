#include "tests/cuda/emulator/block.h"

#include <cstdlib>
#include <utility>

#include "tests/cuda/emulator/barriers.h"
#include "tests/cuda/emulator/counters.h"
#include "tests/cuda/emulator/race_detector.h"
#include "tests/cuda/emulator/text.h"
#include "tests/cuda/emulator/wgmma_queue.h"

constinit thread_local uint3 threadIdx{}, blockIdx{};
constinit thread_local dim3 blockDim{}, gridDim{};

namespace annulus::emulator {

constinit thread_local Block* block = nullptr;
constinit thread_local Thread* self = nullptr;

namespace {

void Entry() {
  Begin();
  block->in_emulator = false;
  block->call->run(block->call->arguments.get());
  block->Exit();
}

// Of a multiprocessor, for a block that has it to itself.
constexpr int kRegisters = 65536;
// A warp may finish a step once in so many picks of a prioritised schedule before priorities
// change.
constexpr uint32_t kPicksPerPriority = 4096;
// Where effects are random, one of the pending bulk copies takes effect once in so many picks.
constexpr uint32_t kPicksPerBulkAction = 64;

}  // namespace

Warp::Warp() = default;
Warp::Warp(Warp&&) noexcept = default;
Warp::~Warp() = default;

Block::Block() = default;
Block::~Block() = default;

bool Block::Run(const LaunchShape& launch, uint3 place, uint64_t linear,
                const KernelCall& kernel_call) {
  shape = launch;
  linear_index = linear;
  call = &kernel_call;
  random = Random(TheOptions().seed * 0x2545f4914f6cdd1du ^ launch.serial * 0x9e3779b9u ^ linear);
  gridDim = launch.grid;
  blockDim = launch.block;
  blockIdx = place;
  thread_count_ = static_cast<int>(launch.block.x * launch.block.y * launch.block.z);
  block = this;
  Start();
  const bool random_effects = TheOptions().copies == Effect::kRandom;
  while (exited_ < thread_count_ && !given_up_) {
    if (random_effects && !bulk_actions.empty() && random.OneIn(kPicksPerBulkAction)) {
      RunBulkAction();
    }
    const int next = Pick();
    if (next >= 0) {
      Continue(threads[static_cast<size_t>(next)]);
    } else if (!RunBulkAction()) {
      TellDeadlock();
      given_up_ = true;
    }
  }
  if (!given_up_) CheckWgmmaSequences();
  shared.CheckEnd();
  Count(&Counters::blocks);
  Count(&Counters::switches, std::exchange(switches_, 0));
  block = nullptr;
  return !given_up_;
}

void Block::Start() {
  exited_ = 0;
  given_up_ = false;
  in_emulator = true;
  last_warp_ = 0;
  mbarriers.clear();
  bulk_actions.clear();
  word_waiters.clear();
  free_registers = 0;
  register_waiters.clear();
  for (Barrier& barrier : barriers) barrier = Barrier();
  warps.clear();
  warps.resize(static_cast<size_t>((thread_count_ + 31) / 32));
  for (Warp& warp : warps) warp.priority = random.Below(1u << 16);
  while (static_cast<int>(stacks_.size()) < thread_count_) stacks_.emplace_back();
  threads.resize(static_cast<size_t>(thread_count_));
  shared.Reset(shape.shared_bytes);
  StartRaces(*this);
  for (int i = 0; i < thread_count_; ++i) {
    Thread& thread = threads[static_cast<size_t>(i)];
    thread = Thread();
    thread.index = i;
    thread.lane = i % 32;
    thread.warp = i / 32;
    thread.registers = kRegisters / thread_count_ / 8 * 8;  // as many as all may have alike
    const auto flat = static_cast<unsigned>(i);
    thread.position = {flat % shape.block.x, flat / shape.block.x % shape.block.y,
                       flat / (shape.block.x * shape.block.y)};
    Prepare(thread.fiber, StackOf(thread), Entry);
    warps[static_cast<size_t>(thread.warp)].alive |= 1u << thread.lane;
    Wake(i);
  }
}

void Block::Continue(Thread& thread) {
  ++switches_;
  self = &thread;
  threadIdx = thread.position;
  Resume(scheduler_, thread.fiber, StackOf(thread));  // which suspends itself in the emulator
  self = nullptr;
}

void Block::Exit() {
  in_emulator = true;
  Warp& warp = warps[static_cast<size_t>(self->warp)];
  if (!self->copy_groups.empty() || !self->open_copies.empty()) {
    Tell(Defect::kAsync, "a thread exits with a cp.async that it did not wait for");
  }
  if (!self->sum_groups.empty() || !self->open_sums.empty()) {
    Tell(Defect::kAsync, "a thread exits with sums by the copy engine that it did not wait for");
  }
  if (warp.wgmma != nullptr && self->lane == 0) warp.wgmma->CheckExit();
  self->state = ThreadState::kDone;
  ++exited_;
  warp.alive &= ~(1u << self->lane);
  ReconsiderBarriers();
  Suspend(self->fiber, scheduler_, true);
  std::abort();  // nobody resumes it
}

void Block::GiveUp() {
  given_up_ = true;
  Suspend(self->fiber, scheduler_, false);
  std::abort();
}

void Block::BlockOn(const char* what, Place at) {
  self->state = ThreadState::kBlocked;
  self->waits_for = what;
  self->waits_at = at;
  Suspend(self->fiber, scheduler_, false);
}

void Block::Yield() {
  Wake(self->index);
  Suspend(self->fiber, scheduler_, false);
}

void Block::Wake(int index) {
  Thread& thread = threads[static_cast<size_t>(index)];
  thread.state = ThreadState::kReady;
  warps[static_cast<size_t>(thread.warp)].ready |= 1u << thread.lane;
}

bool Block::EffectNow() {
  const Effect effect = TheOptions().copies;
  return effect == Effect::kEager || (effect == Effect::kRandom && random.OneIn(2));
}

// The index of a ready thread, which is no longer so; -1 if there is none.
int Block::Pick() {
  const Schedule schedule = TheOptions().schedule;
  const int count = static_cast<int>(warps.size());
  int best = -1;
  uint32_t candidates = 0;
  for (int i = 0; i < count; ++i) {
    const int w = schedule == Schedule::kInOrder ? (last_warp_ + i) % count : i;
    const Warp& warp = warps[static_cast<size_t>(w)];
    if (warp.ready == 0) continue;
    const bool is_better = best < 0 ||
                           (schedule == Schedule::kPriority &&
                            warp.priority > warps[static_cast<size_t>(best)].priority) ||
                           (schedule == Schedule::kRandom && random.OneIn(++candidates + 1));
    if (is_better) best = w;
    if (schedule == Schedule::kInOrder) break;
  }
  if (best < 0) return -1;
  last_warp_ = best;
  Warp& warp = warps[static_cast<size_t>(best)];
  uint32_t lanes = warp.ready;
  if (schedule != Schedule::kInOrder) {
    uint32_t skip = random.Below(static_cast<uint32_t>(__builtin_popcount(lanes)));
    for (; skip > 0; --skip) lanes &= lanes - 1;
  }
  if (schedule == Schedule::kPriority && random.OneIn(kPicksPerPriority)) {
    warp.priority = random.Below(1u << 16);
  }
  const int lane = __builtin_ctz(lanes);
  warp.ready &= ~(1u << lane);
  return best * 32 + lane;
}

bool Block::RunBulkAction() {
  if (bulk_actions.empty()) return false;
  const auto index = random.Below(static_cast<uint32_t>(bulk_actions.size()));
  const BulkAction action = std::move(bulk_actions[index]);
  bulk_actions.erase(bulk_actions.begin() + index);
  action();
  return true;
}

void Block::TellDeadlock() const {
  std::map<std::string, int> waiting;
  for (const Thread& thread : threads) {
    if (thread.state == ThreadState::kBlocked) {
      ++waiting[std::string(thread.waits_for) + " at " + LineOf(thread.waits_at)];
    }
  }
  std::string text = Text("block (%u,%u,%u): %d of %d threads exited, the others wait:", blockIdx.x,
                          blockIdx.y, blockIdx.z, exited_, thread_count_);
  for (const auto& [what, count] : waiting) {
    text += Text("\n  %d threads in %s", count, what.c_str());
  }
  Tell(Defect::kDeadlock, text);
}

}  // namespace annulus::emulator
