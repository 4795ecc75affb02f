// Ranks as processes read each other's keys in place.
#include "tests/cli/shared_memory.h"

namespace annulus::runtime {
namespace {

TEST(SharedMemoryOverMpi, SavesBytesAndNothingElse) { ExpectSharingSavesBytesAlone(Mpirun(4)); }

}  // namespace
}  // namespace annulus::runtime
