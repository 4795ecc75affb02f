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
  ForEachCell(access, [&](Cell& cell) { CheckCell(cell, access); });
}

bool RaceDetector::IsOrderedWrite(const Cell& cell, int thread) {
  if (cell.write_phase == 0 || cell.writer == thread) return true;
  const Clock& clock = ClockOf(thread);
  if (cell.writer == engine()) return cell.write_clock <= clock.times.back();
  return cell.write_phase < phase_ ||
         cell.write_clock <= clock.times[static_cast<size_t>(cell.writer)];
}

// Whether a fence.proxy.async lies between an ordinary write and this thread's access: the writer's
// own, or this thread's after it knew of the write.
bool RaceDetector::IsFenced(const Cell& cell, int thread) {
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

void RaceDetector::CheckCell(Cell& cell, const SharedAccess& access) {
  const bool writes = access.access == Access::kWrite;
  if (cell.pending_writes > 0) {
    TellRace(writes ? "a write meets an asynchronous write that is under way"
                    : "a read meets an asynchronous write that is under way",
             access, cell.writer, cell.pending_at);
  } else if (writes && cell.pending_reads > 0) {
    TellRace("a write meets an asynchronous read that is under way", access, -1, cell.pending_at);
  } else if (!IsOrderedWrite(cell, access.thread)) {
    TellRace(writes ? "a write and an earlier write are not ordered"
                    : "a read and an earlier write are not ordered",
             access, cell.writer, cell.written_at);
  } else if (access.proxy == Proxy::kAsync && !writes && !IsFenced(cell, access.thread)) {
    TellRace("no fence.proxy.async is between an ordinary write and an asynchronous read", access,
             cell.writer, cell.written_at);
  }
  if (!writes) {
    AddReader(cell, access);
    return;
  }
  CheckReaders(cell, access);
  const Clock& clock = ClockOf(access.thread);
  cell.write_phase = phase_;
  cell.write_clock = clock.times[static_cast<size_t>(access.thread)];
  cell.writer = access.thread;
  cell.written_at = access.at;
  cell.async_write = access.proxy == Proxy::kAsync;
  cell.readers = -1;
}

void RaceDetector::CheckReaders(const Cell& cell, const SharedAccess& access) {
  if (cell.read_phase != phase_) return;
  const Clock& clock = ClockOf(access.thread);
  for (int32_t i = cell.readers; i >= 0; i = readers_[static_cast<size_t>(i)].next) {
    const Reader& reader = readers_[static_cast<size_t>(i)];
    if (reader.thread == access.thread) continue;
    if (reader.clock <= clock.times[static_cast<size_t>(reader.thread)]) continue;
    TellRace("a write and an earlier read are not ordered", access, reader.thread, reader.at);
    return;
  }
}

// A reader that is ordered before this one need not be kept: who is ordered after this one is after
// that one, too.
void RaceDetector::AddReader(Cell& cell, const SharedAccess& access) {
  const Clock& clock = ClockOf(access.thread);
  const uint32_t now = clock.times[static_cast<size_t>(access.thread)];
  if (cell.read_phase != phase_) {
    cell.read_phase = phase_;
    cell.readers = -1;
  }
  for (int32_t i = cell.readers; i >= 0; i = readers_[static_cast<size_t>(i)].next) {
    Reader& reader = readers_[static_cast<size_t>(i)];
    if (reader.thread == access.thread ||
        reader.clock <= clock.times[static_cast<size_t>(reader.thread)]) {
      reader = {access.thread, now, access.at, reader.next};
      return;
    }
  }
  readers_.push_back({access.thread, now, access.at, cell.readers});
  cell.readers = static_cast<int32_t>(readers_.size()) - 1;
}

void RaceDetector::BeginAsync(const SharedAccess& access) {
  Check(access);
  ForEachCell(access, [&](Cell& cell) {
    ++(access.access == Access::kWrite ? cell.pending_writes : cell.pending_reads);
    cell.pending_at = access.at;
  });
}

void RaceDetector::EndAsync(const SharedAccess& access) {
  ForEachCell(access, [&](Cell& cell) {
    if (access.access == Access::kRead) {
      --cell.pending_reads;
      AddReader(cell, access);
      return;
    }
    --cell.pending_writes;
    const bool by_engine = access.thread == engine();
    cell.write_phase = phase_;
    cell.writer = access.thread;
    cell.write_clock = by_engine ? engine_clock_
                                 : ClockOf(access.thread).times[static_cast<size_t>(access.thread)];
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
