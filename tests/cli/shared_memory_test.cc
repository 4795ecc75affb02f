// Ranks as threads read each other's keys in place.
#include "tests/cli/shared_memory.h"

namespace annulus::runtime {
namespace {

using testing::HasSubstr;

TEST(SharedMemory, SavesBytesAndNothingElse) { ExpectSharingSavesBytesAlone({}); }

TEST(SharedMemory, OfAPlanGoesByNodesAndByTheMachine) {
  const auto plan = [](const std::string& options) {
    return RunAnnulus(Arguments{"plan"} + TinyModel("--ranks 8 " + options)).out;
  };
  EXPECT_THAT(plan(""), HasSubstr("read in place by ranks that share memory, 8 each; all ranks are "
                                  "taken to be of one node"));
  EXPECT_THAT(plan("--parallel.node_size 4"),
              HasSubstr("read in place by ranks that share memory, 4 each\n"));
  EXPECT_THAT(plan("--parallel.context_size 1 --train.global_batch_size 8"),
              HasSubstr("copied: no two ranks"));
  const std::string gpus = std::string("--machine ") + ANNULUS_MACHINES + "/h100-sxm.ini";
  EXPECT_THAT(plan("--model.dtype bf16 --model.head_dim 128 " + gpus),
              HasSubstr("copied: the machine's hosts do not copy"));
}

}  // namespace
}  // namespace annulus::runtime
