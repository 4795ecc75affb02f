#include "tests/cuda/emulator/work_order.h"

#include <algorithm>
#include <array>
#include <mutex>
#include <unordered_map>
#include <utility>

#include "tests/cuda/emulator/options.h"
#include "tests/cuda/emulator/text.h"

namespace annulus::emulator {
namespace {

constexpr uintptr_t kCellBytes = 2, kPageBytes = 4096;

struct Stamp {
  uint64_t stream = 0, work = 0;  // stream 0: nobody
};
struct Cell {
  Stamp write;
  std::array<Stamp, 2> reads;  // of different streams, the last one first
};
using Page = std::array<Cell, kPageBytes / kCellBytes>;

std::mutex mutex;
std::unordered_map<uintptr_t, std::unique_ptr<Page>> pages;  // guarded by mutex
thread_local RunningWork running;

bool IsBefore(const Stamp& earlier) {
  if (earlier.stream == 0 || earlier.stream == running.stream) return true;
  const auto known = running.clock->find(earlier.stream);
  return known != running.clock->end() && known->second >= earlier.work;
}

// What is wrong with an access, or null; remembers it.
const char* CheckCell(Cell& cell, Access access) {
  const char* wrong = nullptr;
  const bool writes = access == Access::kWrite;
  if (!IsBefore(cell.write)) {
    wrong = writes ? "writes what other work has written" : "reads what other work has written";
  }
  const Stamp now{running.stream, running.work};
  if (!writes) {
    if (cell.reads[0].stream != now.stream) cell.reads[1] = cell.reads[0];
    cell.reads[0] = now;
    return wrong;
  }
  for (const Stamp& read : cell.reads) {
    if (!IsBefore(read)) wrong = "writes what other work has read";
  }
  cell.write = now;
  cell.reads = {};
  return wrong;
}

Page& PageAt(uintptr_t address) {
  std::unique_ptr<Page>& page = pages[address / kPageBytes];
  if (!page) page = std::make_unique<Page>();
  return *page;
}

}  // namespace

void Join(WorkClock& into, const WorkClock& from) {
  for (const auto& [stream, work] : from) {
    uint64_t& known = into[stream];
    known = std::max(known, work);
  }
}

InWork::InWork(RunningWork work) { running = std::move(work); }
InWork::~InWork() { running = {}; }

void TouchByWork(const void* p, size_t bytes, Access access, Place at) {
  if (bytes == 0 || running.clock == nullptr || !RacesAreDetected()) return;
  const auto begin = reinterpret_cast<uintptr_t>(p), end = begin + bytes;
  const char* wrong = nullptr;
  {
    const std::lock_guard lock(mutex);
    for (uintptr_t cell = begin / kCellBytes * kCellBytes; cell < end; cell += kCellBytes) {
      const char* found = CheckCell(PageAt(cell)[cell % kPageBytes / kCellBytes], access);
      if (found != nullptr) wrong = found;
    }
  }
  if (wrong == nullptr) return;
  const std::string line = at == nullptr ? "" : ", at " + LineOf(at);
  Tell(Defect::kStream, Text("%s %s on another stream, and no event orders them%s", running.name,
                             wrong, line.c_str()));
}

void ForgetWorkOn(const void* p, size_t bytes) {
  if (!RacesAreDetected()) return;
  const std::lock_guard lock(mutex);
  const auto begin = reinterpret_cast<uintptr_t>(p);
  for (uintptr_t at = begin / kPageBytes; at <= (begin + bytes) / kPageBytes; ++at) pages.erase(at);
}

}  // namespace annulus::emulator
