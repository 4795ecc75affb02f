// What the emulator is expected to tell of a planted defect, and that it tells nothing of the same
// kernel without it.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "tests/cuda/emulator/memory.h"
#include "tests/cuda/emulator/options.h"
#include "tests/cuda/emulator/report.h"
#include "tests/cuda/emulator/streams.h"
#include "tests/cuda/on_device.h"

namespace annulus {

// What was launched has run. Its error is that of a kernel that was given up.
inline cudaError_t Finish() { return cudaDeviceSynchronize(); }

// A report of this kind has `part` in its text. Takes all reports.
inline void ExpectTold(emulator::Defect defect, const std::string& part) {
  Finish();
  std::string told;
  bool found = false;
  for (const emulator::Report& report : emulator::TakeReports()) {
    found = found || (report.defect == defect && report.text.find(part) != std::string::npos);
    told += "\n  " + std::string(NameOf(report.defect)) + ": " + report.text;
  }
  EXPECT_TRUE(found) << "nothing of kind " << NameOf(defect) << " with \"" << part
                     << "\" was told, but:" << told;
  emulator::ForgetErrors();
}

// Whatever its kind.
inline void ExpectAnythingTold() {
  Finish();
  EXPECT_FALSE(emulator::TakeReports().empty());
  emulator::ForgetErrors();
}

inline void ExpectNothingTold() {
  EXPECT_EQ(Finish(), cudaSuccess);
  for (const emulator::Report& report : emulator::TakeReports()) {
    ADD_FAILURE() << NameOf(report.defect) << ": " << report.text;
  }
}

// In a test of what one flavour finds.
inline bool IsRaceFlavour() { return emulator::RacesAreDetected(); }
inline bool IsAsanFlavour() { return emulator::AddressSanitized(); }

}  // namespace annulus
