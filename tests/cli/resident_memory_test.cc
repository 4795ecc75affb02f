// What the operating system sees of a run is what the ledger says, on top of the baseline: nothing
// of size escapes the ledger.
#include <gmock/gmock.h>

#include "tests/cli/annulus_command.h"

namespace annulus::runtime {
namespace {

class ResidentMemory : public testing::TestWithParam<int64_t> {
 protected:
  // Trains one step; checks every rank that is a process.
  void Check(const std::string& options, const Launcher& launcher) {
    const TempDir dir;
    const std::string output = dir.At("run");
    const Outcome outcome =
        RunAnnulus(Arguments{"train", "--output", output} +
                       TinyModel("--train.steps 1 --train.eval_sequences 1 --device.threads 2 "
                                 "--train.sequence_length " +
                                 std::to_string(GetParam()) + options),
                   launcher);
    ASSERT_EQ(outcome.status, 0) << outcome.err;
    for (const nlohmann::json& rank : ReadJson(output + "/memory.json").at("ranks")) {
      const auto ledger = rank.at("peak_bytes").get<int64_t>();
      ASSERT_GE(ledger, 100'000'000) << "a smaller ledger proves little";
      const auto expected = static_cast<double>(ledger + rank.at("baseline_bytes").get<int64_t>());
      EXPECT_NEAR(rank.at("os_peak_bytes").get<double>(), expected, 0.05 * expected);
    }
  }
};

// The attention window bounds the time of a long sequence and leaves the memory as it is.
constexpr const char* kModel =
    " --attention.mask window --attention.window 64 --model.hidden_size 64 "
    "--model.num_hidden_layers 2";
constexpr const char* kWideModel =
    " --attention.mask window --attention.window 64 --model.hidden_size 256 "
    "--model.num_hidden_layers 2 --model.num_attention_heads 4 --model.intermediate_size 512";

TEST_P(ResidentMemory, OfOneProcess) { Check(GetParam() < 16384 ? kWideModel : kModel, {}); }

#ifdef ANNULUS_TEST_MPI
TEST_P(ResidentMemory, OfTwoProcesses) { Check(kWideModel, Mpirun(2)); }
#endif

INSTANTIATE_TEST_SUITE_P(Lengths, ResidentMemory, testing::Values(8192, 32768));

}  // namespace
}  // namespace annulus::runtime
