#include "tests/cuda/emulator/barriers.h"

#include <utility>

#include "tests/cuda/emulator/block.h"
#include "tests/cuda/emulator/race_detector.h"
#include "tests/cuda/emulator/text.h"

namespace annulus::emulator {
namespace {

// The instruction is .aligned: lanes of a warp execute it together. Code that a compiler doubled
// has two places and one line.
void CheckAligned(const Barrier& barrier, int id) {
  std::array<Place, 32> first{};
  for (const Barrier::Arrival& arrival : barrier.arrivals) {
    Place& at = first[static_cast<size_t>(arrival.thread / 32)];
    if (at == nullptr) at = arrival.at;
    if (at == arrival.at || LineOf(at) == LineOf(arrival.at)) continue;
    Tell(Defect::kDivergence,
         Text("lanes of warp %d meet in barrier %d from %s and from %s", arrival.thread / 32, id,
              LineOf(at).c_str(), LineOf(arrival.at).c_str()));
    return;
  }
}

void TellRaces(const Barrier& barrier) {
  if (block->races == nullptr) return;
  std::vector<int> arrived, waiting;
  for (const Barrier::Arrival& arrival : barrier.arrivals) {
    arrived.push_back(arrival.thread);
    if (arrival.waits) waiting.push_back(arrival.thread);
  }
  // Threads that have exited take no part: what they did is not ordered by their exit.
  if (waiting.size() == static_cast<size_t>(block->thread_count())) {
    block->races->SynchroniseAll();
  } else {
    block->races->Synchronise(arrived, waiting);
  }
}

void Complete(int id) {
  Barrier& barrier = block->barriers[static_cast<size_t>(id)];
  CheckAligned(barrier, id);
  TellRaces(barrier);
  const Barrier done = std::exchange(barrier, Barrier());
  for (const Barrier::Arrival& arrival : done.arrivals) {
    Thread& thread = block->threads[static_cast<size_t>(arrival.thread)];
    thread.barrier_tally = done.tally;
    // The last to arrive runs.
    if (arrival.waits && thread.state == ThreadState::kBlocked) block->Wake(arrival.thread);
  }
}

int Expected(const Barrier& barrier) {
  return barrier.of_all ? block->thread_count() - block->exited() : barrier.expected;
}

// Adds the running thread; true if it completed the barrier.
bool Arrive(int id, const Barrier::Arrival& arrival) {
  Barrier& barrier = block->barriers[static_cast<size_t>(id)];
  barrier.arrivals.push_back(arrival);
  if (static_cast<int>(barrier.arrivals.size()) < Expected(barrier)) return false;
  Complete(id);
  return true;
}

void Wait(bool completed, const char* what, Place at) {
  if (!completed) {
    block->BlockOn(what, at);
  } else if (TheOptions().schedule != Schedule::kInOrder) {
    block->Yield();  // or the last to arrive would always go first
  }
}

}  // namespace

int SyncThreads(bool predicate, Place at) {
  const InEmulator inside;
  Barrier& barrier = block->barriers[0];
  if (!barrier.arrivals.empty() && !barrier.of_all) {
    Tell(Defect::kBarrier, "__syncthreads meets a bar.sync 0 of some threads, at " + LineOf(at));
    block->GiveUp();
  }
  barrier.of_all = true;
  barrier.tally += predicate ? 1 : 0;
  Wait(Arrive(0, {self->index, at, true}), "__syncthreads", at);
  return self->barrier_tally;
}

void NamedBarrier(int id, int count, bool waits, Place at) {
  const InEmulator inside;
  if (id < 0 || id >= 16 || count <= 0 || count % 32 != 0) {
    Tell(Defect::kBarrier, Text("barrier %d of %d threads: there are 16, of whole warps; at %s", id,
                                count, LineOf(at).c_str()));
    block->GiveUp();
  }
  Barrier& barrier = block->barriers[static_cast<size_t>(id)];
  if (!barrier.arrivals.empty() && (barrier.of_all || barrier.expected != count)) {
    Tell(Defect::kBarrier,
         Text("barrier %d is used for %d threads at %s and for %d at %s", id, Expected(barrier),
              LineOf(barrier.arrivals.front().at).c_str(), count, LineOf(at).c_str()));
    block->GiveUp();
  }
  barrier.expected = count;
  const bool completed = Arrive(id, {self->index, at, waits});
  if (waits) Wait(completed, "bar.sync", at);
}

void ReconsiderBarriers() {
  for (size_t id = 0; id < block->barriers.size(); ++id) {
    const Barrier& barrier = block->barriers[id];
    if (!barrier.arrivals.empty() && barrier.of_all &&
        static_cast<int>(barrier.arrivals.size()) == Expected(barrier)) {
      Complete(static_cast<int>(id));
    }
  }
}

}  // namespace annulus::emulator
