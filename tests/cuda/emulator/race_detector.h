// Finds accesses of a block's shared memory that nothing orders, even if they came in a good order.
//
// A vector clock for every thread and one column for the asynchronous engine (Lamport 1978, Mattern
// 1989; Flanagan and Freund 2009, FastTrack); a cell for every two bytes, with the last write and
// the reads since that are not ordered among themselves. A barrier of all threads starts a new
// phase, in which all clocks begin anew: what is of an earlier phase is ordered before everything.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "tests/cuda/emulator/report.h"

namespace annulus::emulator {

class Block;

enum class Access : uint8_t { kRead, kWrite };
// Ordinary instructions, or those that go through the asynchronous proxy (TMA, wgmma).
enum class Proxy : uint8_t { kGeneric, kAsync };

struct SharedAccess {
  uint32_t offset = 0;  // in shared memory, bytes
  uint32_t bytes = 0;
  Access access = Access::kRead;
  int thread = 0;
  Place at = nullptr;
  Proxy proxy = Proxy::kGeneric;
};

class RaceDetector {
 public:
  void Start(int threads, size_t shared_bytes);

  void Check(const SharedAccess& access);

  // What `released` did is ordered before what `acquired` will do.
  void Synchronise(const std::vector<int>& released, const std::vector<int>& acquired);
  // All threads with all.
  void SynchroniseAll();
  // Through an mbarrier.
  void Release(uint32_t mbarrier, int thread);
  void Acquire(uint32_t mbarrier, int thread);
  void ForgetMbarrier(uint32_t mbarrier);
  // fence.proxy.async
  void FenceProxy(int thread);

  // From issue to completion nobody may touch what is written, nor write what is read.
  void BeginAsync(const SharedAccess& access);
  // The write or read of `access` is complete and from now on an access of its thread; kEngine for
  // the asynchronous engine.
  void EndAsync(const SharedAccess& access);
  int engine() const { return threads_; }

  // When a thread did something, to ask later whether that is ordered before what another does now.
  struct Moment {
    uint32_t phase = 0, clock = 0;
  };
  Moment Now(int thread);
  bool IsBefore(const Moment& earlier, int by, int thread);

  // What of this block is ordered before something, to ask when another block runs.
  struct Past {
    uint32_t phase = 0;
    std::vector<uint32_t> times;  // by thread

    bool Holds(const Moment& moment, int by) const {
      return moment.phase < phase ||
             (moment.phase == phase && moment.clock <= times[static_cast<size_t>(by)]);
    }
    void Join(const Past& other);
  };
  // What is before whatever `thread` has done until now, which is at an end with this.
  Past EndPast(int thread);

 private:
  // Lanes of a warp that read a cell at the same time of theirs.
  struct Readers {
    int warp = 0;
    uint32_t clock = 0, lanes = 0;
    Place at = nullptr;
    int32_t next = -1;
  };
  struct Cell {
    uint32_t write_phase = 0, write_clock = 0;  // phase 0: never written
    int writer = 0;
    Place written_at = nullptr;
    bool async_write = false;
    uint8_t pending_writes = 0, pending_reads = 0;
    Place pending_at = nullptr;
    uint32_t read_phase = 0;
    int32_t readers = -1;
  };
  struct Clock {
    uint32_t phase = 0;
    std::vector<uint32_t> times;  // by thread, the engine last
  };

  Clock& ClockOf(int thread);
  void Renew(Clock& clock, int own) const;
  void Join(Clock& into, const Clock& from) const;
  // `clock` is the accessing thread's.
  bool IsOrderedWrite(const Cell& cell, const SharedAccess& access, const Clock& clock) const;
  bool IsFenced(const Cell& cell, int thread) const;
  void CheckCell(Cell& cell, const SharedAccess& access, const Clock& clock);
  void CheckReaders(const Cell& cell, const SharedAccess& access, const Clock& clock) const;
  void AddReader(Cell& cell, const SharedAccess& access, uint32_t now);
  void DropReaders(Cell& cell);
  void TellRace(const char* kind, const SharedAccess& access, int other, Place other_at) const;
  template <class Visit>
  void ForEachCell(const SharedAccess& access, const Visit& visit);

  int threads_ = 0;
  uint32_t phase_ = 1;
  uint32_t engine_clock_ = 1, engine_known_ = 0;  // known: to all threads
  std::vector<Clock> clocks_;
  std::vector<Clock> fence_seen_;                    // what a thread knew at its last fence
  std::vector<uint32_t> fence_phase_, fence_clock_;  // when that was
  std::map<uint32_t, Clock> mbarriers_;
  std::vector<Cell> cells_;
  std::vector<Readers> readers_;
  int32_t free_readers_ = -1;  // of readers_, a list
};

// Called as a block starts: makes its detector if races are looked for.
void StartRaces(Block& block);

}  // namespace annulus::emulator
