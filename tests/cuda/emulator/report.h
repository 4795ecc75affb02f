// What the emulator found wrong.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace annulus::emulator {

enum class Defect : uint8_t {
  kRace,        // accesses that nothing orders
  kMemory,      // out of bounds, of the wrong kind, or misaligned
  kBarrier,     // barriers and mbarriers used against their rules
  kDivergence,  // lanes that should act together do not
  kDeadlock,    // nobody can go on
  kAsync,       // cp.async, TMA or wgmma used against its rules, or not waited for
  kStream,      // work of streams that nothing orders
  kDevice,      // an instruction that the device does not have
};
std::string_view NameOf(Defect defect);

struct Report {
  Defect defect;
  std::string text;  // with source lines, block and thread
};

// Since the last call, of all host threads; at most Options::most_reports. Once taken, a test has
// to answer for them: the test program's main fails a test that leaves any.
std::vector<Report> TakeReports();

// ---- For the emulator itself.

// A place in the program: an address in its code.
using Place = const void*;

// The source line at a place, as in "norm.cu:41", and that of the caller that is farthest out where
// it was inlined. Slow: for reports alone.
std::string LineOf(Place place);

// Records and prints, the same `key` once; without a key, the same text once.
void Tell(Defect defect, const std::string& text, const std::string& key = "");

}  // namespace annulus::emulator
