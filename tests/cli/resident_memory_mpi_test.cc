// The resident memory of a run in two processes.
#include "tests/cli/resident_memory.h"

namespace annulus::runtime {
namespace {

TEST(ResidentMemoryOverMpi, IsTheLedgersOnTopOfTheBaseline) {
  for (const int64_t length : {8192, 32768}) {
    SCOPED_TRACE(length);
    ExpectLedgerExplainsResidentMemory(length, Mpirun(2));
  }
}

}  // namespace
}  // namespace annulus::runtime
