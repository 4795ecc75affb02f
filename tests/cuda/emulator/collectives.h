// Instructions that lanes of a warp execute together. The last lane to arrive acts for all.
#pragma once

#include <cstdint>
#include <cstring>

#include "tests/cuda/emulator/report.h"

namespace annulus::emulator {

inline constexpr uint32_t kAllLanes = 0xffffffffu;

// What a meeting does, with the arguments of the lanes of `mask`.
using Act = void (*)(void* const* arguments, uint32_t mask, Place at);

// Waits until all lanes of `mask` are in the instruction `name` with the same mask, has `act` done
// once, and returns. Lanes that meet in different instructions are divergent, which ends the block.
void Meet(const char* name, uint32_t mask, void* argument, Act act, Place at);

void SyncWarp(uint32_t mask, Place at);

// Of the running thread.
int Lane();

// Every lane's value of the lane that it names.
template <class T>
T Shuffle(const char* name, uint32_t mask, T value, int source, Place at) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8);
  struct Argument {
    T given, taken;
    int source;
  } argument{value, value, source};
  Meet(
      name, mask, &argument,
      [](void* const* arguments, uint32_t lanes, Place place) {
        for (uint32_t lane = 0; lane < 32; ++lane) {
          if ((lanes >> lane & 1) == 0) continue;
          auto* mine = static_cast<Argument*>(arguments[lane]);
          if ((lanes >> mine->source & 1) == 0) {
            Tell(Defect::kDivergence,
                 "a shuffle reads a lane outside its mask, at " + LineOf(place));
            continue;
          }
          mine->taken = static_cast<Argument*>(arguments[mine->source])->given;
        }
      },
      at);
  return argument.taken;
}

// The lanes of `mask` whose predicate holds.
uint32_t Ballot(uint32_t mask, bool predicate, Place at);

}  // namespace annulus::emulator
