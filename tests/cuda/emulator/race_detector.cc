#include "tests/cuda/emulator/race_detector.h"

#include <algorithm>

#include "tests/cuda/emulator/block.h"
#include "tests/cuda/emulator/text.h"

extern "C" const char annulus_emulator_kernels_are_instrumented __attribute__((weak));

namespace annulus::emulator {
namespace {

constexpr uint32_t kCellBytes = 2;

}  // namespace

void RaceDetector::Start(int threads, size_t shared_bytes) {
  threads_ = threads;
  phase_ = 1;
  engine_clock_ = 1;
  engine_known_ = 0;
  const auto count = static_cast<size_t>(threads);
  clocks_.assign(count, {});
  fence_seen_.assign(count, {});
  fence_phase_.assign(count, 0);
  fence_clock_.assign(count, 0);
  mbarriers_.clear();
  cells_.assign(shared_bytes / kCellBytes + 1, {});
  readers_.clear();
  free_readers_ = -1;
}

// A clock of an earlier phase knows nothing of this one.
void RaceDetector::Renew(Clock& clock, int own) const {
  if (clock.phase == phase_) return;
  // What the engine did is not of a phase.
  const uint32_t engine = clock.times.empty() ? 0 : clock.times.back();
  clock.phase = phase_;
  clock.times.assign(static_cast<size_t>(threads_) + 1, 0);
  clock.times.back() = std::max(engine, engine_known_);
  if (own >= 0) clock.times[static_cast<size_t>(own)] = 1;
}

RaceDetector::Clock& RaceDetector::ClockOf(int thread) {
  Clock& clock = clocks_[static_cast<size_t>(thread)];
  Renew(clock, thread);
  return clock;
}

void RaceDetector::Join(Clock& into, const Clock& from) const {
  if (from.phase != phase_) return;
  for (size_t i = 0; i < into.times.size(); ++i) {
    into.times[i] = std::max(into.times[i], from.times[i]);
  }
}

void RaceDetector::Synchronise(const std::vector<int>& released, const std::vector<int>& acquired) {
  Clock all;
  Renew(all, -1);
  for (const int thread : released) Join(all, ClockOf(thread));
  for (const int thread : acquired) Join(ClockOf(thread), all);
  for (const int thread : released) ++ClockOf(thread).times[static_cast<size_t>(thread)];
}

void RaceDetector::SynchroniseAll() {
  for (const Clock& clock : clocks_) {
    if (!clock.times.empty()) engine_known_ = std::max(engine_known_, clock.times.back());
  }
  ++phase_;
  readers_.clear();
  free_readers_ = -1;
}

void RaceDetector::Release(uint32_t mbarrier, int thread) {
  Clock& clock = mbarriers_[mbarrier];
  Renew(clock, -1);
  if (thread == engine()) {
    clock.times.back() = std::max(clock.times.back(), engine_clock_++);
    return;
  }
  Clock& own = ClockOf(thread);
  Join(clock, own);
  ++own.times[static_cast<size_t>(thread)];
}

void RaceDetector::Acquire(uint32_t mbarrier, int thread) {
  const auto found = mbarriers_.find(mbarrier);
  if (found == mbarriers_.end()) return;
  Clock& clock = ClockOf(thread);
  Join(clock, found->second);
  clock.times.back() = std::max(clock.times.back(), found->second.times.back());
}

void RaceDetector::ForgetMbarrier(uint32_t mbarrier) { mbarriers_.erase(mbarrier); }

RaceDetector::Moment RaceDetector::Now(int thread) {
  return {phase_, ClockOf(thread).times[static_cast<size_t>(thread)]};
}

bool RaceDetector::IsBefore(const Moment& earlier, int by, int thread) {
  return earlier.phase < phase_ || earlier.clock <= ClockOf(thread).times[static_cast<size_t>(by)];
}

void RaceDetector::Past::Join(const Past& other) {
  if (other.phase < phase) return;
  if (other.phase > phase) {
    *this = other;
    return;
  }
  for (size_t i = 0; i < times.size(); ++i) times[i] = std::max(times[i], other.times[i]);
}

RaceDetector::Past RaceDetector::EndPast(int thread) {
  Clock& clock = ClockOf(thread);
  Past past{phase_, clock.times};
  ++clock.times[static_cast<size_t>(thread)];
  return past;
}

void RaceDetector::FenceProxy(int thread) {
  const auto index = static_cast<size_t>(thread);
  Clock& clock = ClockOf(thread);
  fence_phase_[index] = phase_;
  fence_clock_[index] = clock.times[index];
  fence_seen_[index] = clock;
  ++clock.times[index];
}

template <class Visit>
void RaceDetector::ForEachCell(const SharedAccess& access, const Visit& visit) {
  const uint32_t last = (access.offset + access.bytes - 1) / kCellBytes;
  for (uint32_t i = access.offset / kCellBytes; i <= last && i < cells_.size(); ++i) {
    visit(cells_[i]);
  }
}

void RaceDetector::Check(const SharedAccess& access) {
  const Clock& clock = ClockOf(access.thread);
  ForEachCell(access, [&](Cell& cell) { CheckCell(cell, access, clock); });
}

bool RaceDetector::IsOrderedWrite(const Cell& cell, const SharedAccess& access,
                                  const Clock& clock) const {
  if (cell.write_phase == 0 || cell.writer == access.thread) return true;
  if (cell.writer == engine()) return cell.write_clock <= clock.times.back();
  return cell.write_phase < phase_ ||
         cell.write_clock <= clock.times[static_cast<size_t>(cell.writer)];
}

// Whether a fence.proxy.async lies between an ordinary write and this thread's access: the writer's
// own, or this thread's after it knew of the write.
bool RaceDetector::IsFenced(const Cell& cell, int thread) const {
  if (cell.write_phase == 0 || cell.async_write) return true;
  const auto writer = static_cast<size_t>(cell.writer);
  if (fence_phase_[writer] > cell.write_phase ||
      (fence_phase_[writer] == cell.write_phase && fence_clock_[writer] >= cell.write_clock)) {
    return true;
  }
  const Clock& seen = fence_seen_[static_cast<size_t>(thread)];
  return seen.phase > cell.write_phase ||
         (seen.phase == cell.write_phase && seen.times[writer] >= cell.write_clock);
}

void RaceDetector::CheckCell(Cell& cell, const SharedAccess& access, const Clock& clock) {
  const bool writes = access.access == Access::kWrite;
  if (cell.pending_writes > 0) {
    TellRace(writes ? "a write meets an asynchronous write that is under way"
                    : "a read meets an asynchronous write that is under way",
             access, cell.writer, cell.pending_at);
  } else if (writes && cell.pending_reads > 0) {
    TellRace("a write meets an asynchronous read that is under way", access, -1, cell.pending_at);
  } else if (!IsOrderedWrite(cell, access, clock)) {
    TellRace(writes ? "a write and an earlier write are not ordered"
                    : "a read and an earlier write are not ordered",
             access, cell.writer, cell.written_at);
  } else if (access.proxy == Proxy::kAsync && !writes && !IsFenced(cell, access.thread)) {
    TellRace("no fence.proxy.async is between an ordinary write and an asynchronous read", access,
             cell.writer, cell.written_at);
  }
  const uint32_t now = clock.times[static_cast<size_t>(access.thread)];
  if (!writes) {
    AddReader(cell, access, now);
    return;
  }
  CheckReaders(cell, access, clock);
  DropReaders(cell);
  cell.write_phase = phase_;
  cell.write_clock = now;
  cell.writer = access.thread;
  cell.written_at = access.at;
  cell.async_write = access.proxy == Proxy::kAsync;
}

void RaceDetector::CheckReaders(const Cell& cell, const SharedAccess& access,
                                const Clock& clock) const {
  if (cell.read_phase != phase_) return;
  for (int32_t i = cell.readers; i >= 0; i = readers_[static_cast<size_t>(i)].next) {
    const Readers& readers = readers_[static_cast<size_t>(i)];
    for (uint32_t lanes = readers.lanes; lanes != 0; lanes &= lanes - 1) {
      const int thread = readers.warp * 32 + __builtin_ctz(lanes);
      if (thread == access.thread) continue;
      if (readers.clock <= clock.times[static_cast<size_t>(thread)]) continue;
      TellRace("a write and an earlier read are not ordered", access, thread, readers.at);
      return;
    }
  }
}

// Only the last read of a thread is kept.
void RaceDetector::AddReader(Cell& cell, const SharedAccess& access, uint32_t now) {
  if (cell.read_phase != phase_) {
    cell.read_phase = phase_;
    cell.readers = -1;
  }
  const int warp = access.thread / 32;
  const uint32_t lane = 1u << (access.thread % 32);
  bool is_kept = false;
  for (int32_t i = cell.readers; i >= 0; i = readers_[static_cast<size_t>(i)].next) {
    Readers& readers = readers_[static_cast<size_t>(i)];
    if (readers.warp != warp) continue;
    if (readers.clock == now) {
      if ((readers.lanes & lane) != 0) return;
      readers.lanes |= lane;
      is_kept = true;
    } else if ((readers.lanes & ~lane) == 0 && !is_kept) {
      readers.clock = now;
      readers.lanes = lane;
      readers.at = access.at;
      return;
    } else {
      readers.lanes &= ~lane;
    }
  }
  if (is_kept) return;
  const Readers fresh{warp, now, lane, access.at, cell.readers};
  if (free_readers_ < 0) {
    readers_.push_back(fresh);
    cell.readers = static_cast<int32_t>(readers_.size()) - 1;
    return;
  }
  cell.readers = free_readers_;
  Readers& reused = readers_[static_cast<size_t>(free_readers_)];
  free_readers_ = reused.next;
  reused = fresh;
}

void RaceDetector::DropReaders(Cell& cell) {
  if (cell.read_phase == phase_ && cell.readers >= 0) {
    int32_t last = cell.readers;
    while (readers_[static_cast<size_t>(last)].next >= 0) {
      last = readers_[static_cast<size_t>(last)].next;
    }
    readers_[static_cast<size_t>(last)].next = free_readers_;
    free_readers_ = cell.readers;
  }
  cell.readers = -1;
}

void RaceDetector::BeginAsync(const SharedAccess& access) {
  Check(access);
  ForEachCell(access, [&](Cell& cell) {
    ++(access.access == Access::kWrite ? cell.pending_writes : cell.pending_reads);
    cell.pending_at = access.at;
  });
}

void RaceDetector::EndAsync(const SharedAccess& access) {
  const uint32_t now = access.thread == engine()
                           ? engine_clock_
                           : ClockOf(access.thread).times[static_cast<size_t>(access.thread)];
  ForEachCell(access, [&](Cell& cell) {
    if (access.access == Access::kRead) {
      --cell.pending_reads;
      AddReader(cell, access, now);
      return;
    }
    --cell.pending_writes;
    cell.write_phase = phase_;
    cell.writer = access.thread;
    cell.write_clock = now;
    cell.written_at = access.at;
    cell.async_write = access.proxy == Proxy::kAsync;
  });
}

void RaceDetector::TellRace(const char* kind, const SharedAccess& access, int other,
                            Place other_at) const {
  const bool is_thread = other >= 0 && other != engine();
  const std::string who =
      is_thread ? "thread " + std::to_string(other) : std::string("the asynchronous engine");
  const std::string here = LineOf(access.at), there = LineOf(other_at);
  Tell(Defect::kRace,
       Text("%s: shared offset 0x%x, thread %d at %s, %s at %s", kind, access.offset, access.thread,
            here.c_str(), who.c_str(), there.c_str()),
       kind + here + there);
}

// The hooks of instrumented kernels are linked where there are such kernels.
bool RacesAreDetected() {
  return &annulus_emulator_kernels_are_instrumented != nullptr && TheOptions().detect_races;
}

void StartRaces(Block& of) {
  if (!RacesAreDetected()) {
    of.races.reset();
    return;
  }
  if (of.races == nullptr) of.races = std::make_unique<RaceDetector>();
  of.races->Start(of.thread_count(), of.shape.shared_bytes);
}

}  // namespace annulus::emulator
