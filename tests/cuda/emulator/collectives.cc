#include "tests/cuda/emulator/collectives.h"

#include <vector>

#include "tests/cuda/emulator/block.h"
#include "tests/cuda/emulator/race_detector.h"
#include "tests/cuda/emulator/text.h"

namespace annulus::emulator {
namespace {

bool IsSame(const char* a, const char* b) { return a == b || std::strcmp(a, b) == 0; }

// Instructions of matrices are .aligned: the lanes are at one of them. Others may be at several of
// the same kind. Code that a compiler doubled has two places and one line.
bool IsAligned(const Meeting& meeting, Place at) {
  if (meeting.at == at) return true;
  for (const char* other : {"shfl", "ballot", "__syncwarp"}) {
    if (std::strncmp(meeting.name, other, std::strlen(other)) == 0) return true;
  }
  return LineOf(meeting.at) == LineOf(at);
}

// The meeting that the running lane joins; a new one if there is none.
size_t Find(Warp& warp, const char* name, uint32_t mask, Place at) {
  for (size_t i = 0; i < warp.meetings.size(); ++i) {
    const Meeting& meeting = warp.meetings[i];
    if ((meeting.mask & mask) == 0) continue;
    if (meeting.mask == mask && IsSame(meeting.name, name) &&
        (meeting.arrived >> self->lane & 1) == 0 && IsAligned(meeting, at)) {
      return i;
    }
    Tell(Defect::kDivergence,
         Text("%s of lanes %08x at %s meets %s of lanes %08x at %s", name, mask, LineOf(at).c_str(),
              meeting.name, meeting.mask, LineOf(meeting.at).c_str()));
    block->GiveUp();
  }
  warp.meetings.push_back({name, mask, 0, {}, at});
  return warp.meetings.size() - 1;
}

}  // namespace

void Meet(const char* name, uint32_t mask, void* argument, Act act, Place at) {
  const InEmulator inside;
  const int lane = self->lane;
  if ((mask >> lane & 1) == 0) {
    Tell(Defect::kDivergence, Text("%s of lanes %08x is called by lane %d, at %s", name, mask, lane,
                                   LineOf(at).c_str()));
    block->GiveUp();
  }
  Warp& warp = block->warps[static_cast<size_t>(self->warp)];
  const size_t index = Find(warp, name, mask, at);
  Meeting& meeting = warp.meetings[index];
  meeting.arrived |= 1u << lane;
  meeting.arguments[static_cast<size_t>(lane)] = argument;
  if (meeting.arrived != mask) {
    block->BlockOn(name, at);
    return;
  }
  // All others wait: nobody adds a meeting while this one is acted on.
  if (act != nullptr) act(meeting.arguments.data(), mask, meeting.at);
  warp.meetings.erase(warp.meetings.begin() + static_cast<std::ptrdiff_t>(index));
  for (uint32_t others = mask & ~(1u << lane); others != 0; others &= others - 1) {
    block->Wake(self->warp * 32 + __builtin_ctz(others));
  }
}

void SyncWarp(uint32_t mask, Place at) {
  Meet(
      "__syncwarp", mask, nullptr,
      [](void* const*, uint32_t lanes, Place) {
        if (block->races == nullptr) return;
        std::vector<int> threads;
        for (int lane = 0; lane < 32; ++lane) {
          if ((lanes >> lane & 1) != 0) threads.push_back(self->warp * 32 + lane);
        }
        block->races->Synchronise(threads, threads);
      },
      at);
}

int Lane() { return self->lane; }

uint32_t Ballot(uint32_t mask, bool predicate, Place at) {
  struct Argument {
    bool predicate;
    uint32_t lanes;
  } argument{predicate, 0};
  Meet(
      "ballot", mask, &argument,
      [](void* const* arguments, uint32_t lanes, Place) {
        uint32_t result = 0;
        for (uint32_t lane = 0; lane < 32; ++lane) {
          if ((lanes >> lane & 1) == 0) continue;
          if (static_cast<Argument*>(arguments[lane])->predicate) result |= 1u << lane;
        }
        for (uint32_t lane = 0; lane < 32; ++lane) {
          if ((lanes >> lane & 1) != 0) static_cast<Argument*>(arguments[lane])->lanes = result;
        }
      },
      at);
  return argument.lanes;
}

}  // namespace annulus::emulator
