// What every Communicator must do, whatever carries its bytes: threads run it through RunRanks, MPI
// under mpirun. Inputs are chosen so that the right answer is known exactly.
#pragma once

#include <ostream>
#include <span>
#include <vector>

#include "parallel/communicator.h"

namespace annulus::parallel {

// Where a communicator's tensors are, if not in the host's memory.
class TensorMemory {
 public:
  virtual ~TensorMemory() = default;

  virtual void* Allocate(int64_t bytes) = 0;
  virtual void Free(void* tensor) = 0;
  // Ordered with what is started and waited for before and after; Download returns when it is done.
  virtual void Upload(const void* from, void* to, int64_t bytes) = 0;
  virtual void Download(const void* from, void* to, int64_t bytes) = 0;
};

// Until its end the cases that this thread runs have their tensors in `memory`.
class TensorsIn {
 public:
  explicit TensorsIn(TensorMemory& memory);
  ~TensorsIn();
  TensorsIn(const TensorsIn&) = delete;
  TensorsIn& operator=(const TensorsIn&) = delete;
};

// Collective: every rank of `world` runs it, and reports failures through EXPECT.
struct CommunicatorCase {
  const char* name;
  void (*run)(Communicator& world);

  friend void PrintTo(const CommunicatorCase& test_case, std::ostream* out) {
    *out << test_case.name;
  }
};

std::span<const CommunicatorCase> CommunicatorCases();
// But for those that lend: of a transport for devices, whose memory no peer reads.
std::vector<CommunicatorCase> CommunicatorCasesOfDevices();

}  // namespace annulus::parallel
