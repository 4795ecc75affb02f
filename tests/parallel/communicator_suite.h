// What every Communicator must do, whatever carries its bytes: threads run it through RunRanks, MPI
// under mpirun. Inputs are chosen so that the right answer is known exactly.
#pragma once

#include <ostream>
#include <span>

#include "parallel/communicator.h"

namespace annulus::parallel {

// Collective: every rank of `world` runs it, and reports failures through EXPECT.
struct CommunicatorCase {
  const char* name;
  void (*run)(Communicator& world);

  friend void PrintTo(const CommunicatorCase& test_case, std::ostream* out) {
    *out << test_case.name;
  }
};

std::span<const CommunicatorCase> CommunicatorCases();

}  // namespace annulus::parallel
