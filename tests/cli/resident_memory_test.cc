// The resident memory of a run in one process.
#include "tests/cli/resident_memory.h"

namespace annulus::runtime {
namespace {

TEST(ResidentMemory, IsTheLedgersOnTopOfTheBaseline) {
  for (const int64_t length : {8192, 32768}) {
    SCOPED_TRACE(length);
    ExpectLedgerExplainsResidentMemory(length, {});
  }
}

}  // namespace
}  // namespace annulus::runtime
