#include "tests/cuda/emulator/report.h"

#include <link.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <map>
#include <mutex>
#include <set>
#include <utility>

#include "tests/cuda/emulator/block.h"
#include "tests/cuda/emulator/options.h"

namespace annulus::emulator {
namespace {

std::mutex mutex;
std::vector<Report> reports;         // guarded by mutex
std::set<std::string> told;          // guarded by mutex
std::map<Place, std::string> lines;  // guarded by mutex

// Where the program was loaded: 0 unless it is position independent.
uintptr_t LoadAddress() {
  uintptr_t base = 0;
  dl_iterate_phdr(
      [](dl_phdr_info* info, size_t, void* result) {
        *static_cast<uintptr_t*>(result) = info->dlpi_addr;
        return 1;  // the first is the program
      },
      &base);
  return base;
}

// "FILE:LINE" for every function inlined at `place`, the innermost first, directories cut off.
std::vector<std::string> InlinedLines(Place place) {
  std::array<char, 512> line{};
  // The call is before the address that it returns to.
  std::snprintf(line.data(), line.size(), "addr2line -i -e /proc/%d/exe 0x%zx 2>/dev/null",
                static_cast<int>(getpid()),
                static_cast<size_t>(reinterpret_cast<uintptr_t>(place) - 1 - LoadAddress()));
  std::vector<std::string> result;
  FILE* output = popen(line.data(), "r");
  if (output == nullptr) return result;
  while (std::fgets(line.data(), static_cast<int>(line.size()), output) != nullptr) {
    std::string text(line.data());
    text = text.substr(0, text.find_first_of(" \n"));
    result.push_back(text.substr(text.rfind('/') + 1));
  }
  pclose(output);
  return result;
}

bool IsOfEmulator(const std::string& line) {
  for (const char* file : {"ptx", "builtins", "launch.h", "collectives.h", "atomics.h"}) {
    if (line.rfind(file, 0) == 0) return true;
  }
  return false;
}

std::string FindLine(Place place) {
  std::vector<std::string> inlined = InlinedLines(place);
  std::erase_if(inlined, IsOfEmulator);
  if (inlined.empty()) return "an unknown line";
  if (inlined.size() == 1 || inlined.front() == inlined.back()) return inlined.front();
  return inlined.front() + " (from " + inlined.back() + ")";
}

// The running thread, or nothing.
std::string WhoRuns() {
  if (self == nullptr) return "";
  std::array<char, 128> text{};
  std::snprintf(text.data(), text.size(), " [block (%u,%u,%u), thread %d: warp %d, lane %d]",
                blockIdx.x, blockIdx.y, blockIdx.z, self->index, self->warp, self->lane);
  return text.data();
}

}  // namespace

std::string_view NameOf(Defect defect) {
  switch (defect) {
    case Defect::kRace:
      return "race";
    case Defect::kMemory:
      return "memory";
    case Defect::kBarrier:
      return "barrier";
    case Defect::kDivergence:
      return "divergence";
    case Defect::kDeadlock:
      return "deadlock";
    case Defect::kAsync:
      return "async";
    case Defect::kStream:
      return "stream";
    case Defect::kDevice:
      return "device";
  }
  return "?";
}

std::vector<Report> TakeReports() {
  const std::lock_guard lock(mutex);
  told.clear();
  return std::exchange(reports, {});
}

std::string LineOf(Place place) {
  if (place == nullptr) return "an unknown line";
  const std::lock_guard lock(mutex);
  const auto [at, is_new] = lines.try_emplace(place);
  if (is_new) at->second = FindLine(place);
  return at->second;
}

void Tell(Defect defect, const std::string& text, const std::string& key) {
  const std::lock_guard lock(mutex);
  if (static_cast<int>(reports.size()) >= TheOptions().most_reports) return;
  if (!told.insert(key.empty() ? text : key).second) return;
  reports.push_back({defect, text + WhoRuns()});
  const std::string_view name = NameOf(defect);
  std::fprintf(stderr, "emulator: %.*s: %s\n", static_cast<int>(name.size()), name.data(),
               reports.back().text.c_str());
}

}  // namespace annulus::emulator
