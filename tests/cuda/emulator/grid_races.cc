#include "tests/cuda/emulator/grid_races.h"

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <unordered_map>

#include "tests/cuda/emulator/block.h"
#include "tests/cuda/emulator/text.h"
#include "tests/cuda/emulator/work_order.h"

namespace annulus::emulator {
namespace {

constexpr uintptr_t kCellBytes = 2, kPageBytes = 4096;

// Who accessed a cell, and when in its block.
struct Stamp {
  int32_t block = -1;  // -1: nobody
  int16_t thread = 0;
  bool atomic = false;
  RaceDetector::Moment moment;
};
struct Cell {
  Stamp write;
  std::array<Stamp, 2> reads;  // the last one and one before it of another thread
  uint8_t written = 0;         // which bytes, as bits
};
using Page = std::array<Cell, kPageBytes / kCellBytes>;

// What is before something, by block.
using Pasts = std::map<int32_t, RaceDetector::Past>;

// A thread of the running block has learnt of others.
struct Acquired {
  int thread;
  RaceDetector::Moment moment;
  std::shared_ptr<const Pasts> pasts;
};

struct Grid {
  std::unordered_map<uintptr_t, std::unique_ptr<Page>> pages;
  uintptr_t last_number = 0;
  Page* last_page = nullptr;
  const std::byte* arguments = nullptr;
  size_t argument_bytes = 0;
  std::map<const void*, std::shared_ptr<const Pasts>> released;  // by word
  uint64_t acquired_by = 0;                                      // block
  std::vector<Acquired> acquired;
};
thread_local Grid grid;

// Of the running block.
std::vector<Acquired>& AllAcquired() {
  if (grid.acquired_by != block->linear_index) grid.acquired.clear();
  grid.acquired_by = block->linear_index;
  return grid.acquired;
}

bool Knows(int thread, const Acquired& acquired) {
  return acquired.thread == thread ||
         block->races->IsBefore(acquired.moment, acquired.thread, thread);
}

Cell& CellAt(uintptr_t address) {
  const uintptr_t number = address / kPageBytes;
  if (grid.last_page == nullptr || number != grid.last_number) {
    std::unique_ptr<Page>& page = grid.pages[number];
    if (!page) page = std::make_unique<Page>();
    grid.last_page = page.get();
    grid.last_number = number;
  }
  return (*grid.last_page)[address % kPageBytes / kCellBytes];
}

bool AreOrdered(const Stamp& earlier, const Stamp& now) {
  if (earlier.block < 0) return true;
  if (earlier.block != now.block) {
    const std::vector<Acquired>& all = AllAcquired();
    return std::any_of(all.rbegin(), all.rend(), [&](const Acquired& acquired) {
      if (!Knows(now.thread, acquired)) return false;
      const auto past = acquired.pasts->find(earlier.block);
      return past != acquired.pasts->end() && past->second.Holds(earlier.moment, earlier.thread);
    });
  }
  return earlier.thread == now.thread ||
         block->races->IsBefore(earlier.moment, earlier.thread, now.thread);
}

struct Conflict {
  const char* kind = nullptr;
  Stamp with;
};

Conflict FindConflict(const Cell& cell, const Stamp& now, bool writes, uint8_t bytes) {
  if ((cell.written & bytes) != 0 && !(now.atomic && cell.write.atomic) &&
      !AreOrdered(cell.write, now)) {
    return {writes ? "a write and an earlier write are not ordered"
                   : "a read and an earlier write are not ordered",
            cell.write};
  }
  if (!writes) return {};
  for (const Stamp& read : cell.reads) {
    if (now.atomic && read.atomic) continue;
    if (!AreOrdered(read, now)) return {"a write and an earlier read are not ordered", read};
  }
  return {};
}

void Remember(Cell& cell, const Stamp& now, bool writes, uint8_t bytes) {
  if (writes) {
    cell.written = cell.write.block == now.block && cell.write.thread == now.thread
                       ? static_cast<uint8_t>(cell.written | bytes)
                       : bytes;
    cell.write = now;
    cell.reads = {};
    return;
  }
  if (cell.reads[0].block != now.block || cell.reads[0].thread != now.thread) {
    cell.reads[1] = cell.reads[0];
  }
  cell.reads[0] = now;
}

}  // namespace

void StartGridRaces(const KernelCall& call) {
  grid.pages.clear();
  grid.last_page = nullptr;
  grid.released.clear();
  grid.acquired.clear();
  grid.arguments = static_cast<const std::byte*>(call.arguments.get());
  grid.argument_bytes = call.argument_bytes;
}

bool IsArgument(const void* p) {
  return p >= grid.arguments && p < grid.arguments + grid.argument_bytes;
}

void ReleaseToBlocks(const void* word, int thread) {
  auto pasts = std::make_shared<Pasts>();
  for (const Acquired& acquired : AllAcquired()) {
    if (!Knows(thread, acquired)) continue;
    for (const auto& [of, past] : *acquired.pasts) {
      const auto [at, is_new] = pasts->try_emplace(of, past);
      if (!is_new) at->second.Join(past);
    }
  }
  (*pasts)[static_cast<int32_t>(block->linear_index)] = block->races->EndPast(thread);
  grid.released[word] = std::move(pasts);
}

void AcquireFromBlocks(const void* word, int thread) {
  const auto found = grid.released.find(word);
  if (found == grid.released.end()) return;
  AllAcquired().push_back({thread, block->races->Now(thread), found->second});
}

void CheckGridAccess(const Allocation& allocation, const MemoryAccess& access) {
  const bool writes = access.access == Access::kWrite;
  const Stamp now{static_cast<int32_t>(block->linear_index), static_cast<int16_t>(access.thread),
                  access.atomic, block->races->Now(access.thread)};
  const auto begin = reinterpret_cast<uintptr_t>(access.p), end = begin + access.bytes;
  for (uintptr_t at = begin / kCellBytes * kCellBytes; at < end; at += kCellBytes) {
    const uint8_t bytes = static_cast<uint8_t>((at >= begin ? 1 : 0) | (at + 1 < end ? 2 : 0));
    Cell& cell = CellAt(at);
    const bool is_first =
        cell.write.block < 0 && (writes || (cell.reads[0].block < 0 && cell.reads[1].block < 0));
    if (is_first) {
      TouchByWork(reinterpret_cast<const void*>(at), kCellBytes, access.access, access.at);
    }
    const Conflict conflict = FindConflict(cell, now, writes, bytes);
    if (conflict.kind != nullptr) {
      const std::string line = LineOf(access.at);
      Tell(Defect::kRace,
           Text("%s: offset %td of an allocation of %zu bytes, at %s, with block %d, thread %d",
                conflict.kind, static_cast<const std::byte*>(access.p) - allocation.begin,
                allocation.bytes, line.c_str(), conflict.with.block, conflict.with.thread),
           conflict.kind + line);
    }
    Remember(cell, now, writes, bytes);
  }
}

}  // namespace annulus::emulator
