// Benchmarks of ranks as processes.
#include "tests/cli/bench_ranks.h"

namespace annulus::runtime {
namespace {

TEST(BenchOverMpi, RingAndScalingRun) { ExpectRingAndScalingRun({}, Mpirun(2)); }

}  // namespace
}  // namespace annulus::runtime
