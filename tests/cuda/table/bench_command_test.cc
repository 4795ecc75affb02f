// `annulus bench` with device.kind = cuda, on the emulator: the rows are there, what was sent is
// what was predicted, and mistakes are told. Sizes are tiny, and no time means anything.
#include <gmock/gmock.h>

#include <cmath>

#include "tests/cuda/table/emulated_command.h"

namespace annulus::runtime {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;

// Rates of everything that the cases below need.
constexpr const char* kMachine =
    "[machine]\nranks = 2\nthreads_per_rank = 0\n[matmul f32]\ngflops = 1\n"
    "[attention_forward f32 16]\ngflops = 1\n[attention_backward f32 16]\ngflops = 1\n"
    "[elementwise f32]\ngbytes_per_s = 1\n[within_node]\ngbytes_per_s = 1\n";

constexpr const char* kTinyAttention =
    " --device.kind cuda --bench.n 32 --bench.head_dim 16 --bench.heads 2 --bench.roof_size 32"
    " --bench.repetitions 1 ";

class EmulatedBench : public testing::Test {
 protected:
  // The report of `annulus bench NAME OPTIONS`.
  json Measure(const std::string& name, const std::string& options,
               const std::string& emulator = "", const Launcher& launcher = {}) {
    const std::string file = dir_.At(name + ".json");
    const Outcome outcome =
        RunEmulated(Arguments{"bench", name, "--json", file} + Words(options), emulator, launcher);
    text_ = outcome.out;
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    return outcome.status == 0 ? ReadJson(file) : json();
  }

  // What is said of `annulus bench NAME OPTIONS`, a mistake of the user's.
  std::string Complaint(const std::string& options, const std::string& emulator = "") {
    return ComplaintOf(RunEmulated(Arguments{"bench"} + Words(options), emulator));
  }

  std::string MachineFile() { return " --machine " + dir_.Write("m.ini", kMachine); }

  TempDir dir_;
  std::string text_;  // standard output of the last Measure()
};

// Of a row that ranks measured on devices, beside their roof.
void ExpectMeasured(const json& row, int ranks, int devices) {
  EXPECT_EQ(row.at("ranks"), ranks);
  EXPECT_EQ(row.at("devices"), devices);
  EXPECT_TRUE(row.at("threads_per_rank").is_null());
  for (const char* key : {"ms", "efficiency", "gflops", "roof_gflops", "roof_ratio"}) {
    ASSERT_TRUE(row.at(key).is_number()) << key;
    EXPECT_GT(row.at(key), 0) << key;
  }
  EXPECT_EQ(row.at("roof_caveat"), "");
  EXPECT_GE(row.at("exposed_comm_ms"), 0);
  EXPECT_EQ(row.at("bytes_sent"), row.at("predicted_bytes_sent"));
  EXPECT_EQ(row.at("bytes_sent") > 0, ranks > 1);
}

TEST_F(EmulatedBench, RingOfOneRankIsSetBesideTheBareKernel) {
  const json report = Measure("ring", std::string(kTinyAttention) + "--ranks 1");
  ASSERT_EQ(report.at("rows").size(), 2u);
  for (const json& row : report.at("rows")) {
    ExpectMeasured(row, 1, 1);
    EXPECT_EQ(row.at("baseline"), "one device / devices");
    EXPECT_GT(row.at("over_kernel"), 0);
    EXPECT_LE(row.at("over_kernel_min"), row.at("over_kernel"));
    EXPECT_LE(row.at("over_kernel"), row.at("over_kernel_max"));
  }
  EXPECT_THAT(text_, AllOf(HasSubstr("over the bare kernel: "), HasSubstr("1 rank on devices")));
}

TEST_F(EmulatedBench, RingOverNcclHasADeviceForEveryRank) {
  const json report = Measure(
      "ring", kTinyAttention + MachineFile() + " --ranks 2 --parallel.transport nccl", "devices=2");
  ASSERT_EQ(report.at("rows").size(), 2u);
  for (const json& row : report.at("rows")) {
    ExpectMeasured(row, 2, 2);
    EXPECT_TRUE(row.at("over_kernel").is_null());
    EXPECT_GT(row.at("predicted_ms"), 0);
  }
  EXPECT_THAT(text_,
              AllOf(HasSubstr("messages over NCCL"), testing::Not(HasSubstr("ranks share"))));
}

TEST_F(EmulatedBench, RanksThatShareADeviceAreMeasuredAgainstAllOfIt) {
  const json report =
      Measure("ring", std::string(kTinyAttention) + "--bench.dtype bf16 --ranks 2", "devices=1");
  ASSERT_EQ(report.at("rows").size(), 2u);
  for (const json& row : report.at("rows")) ExpectMeasured(row, 2, 1);
  EXPECT_THAT(text_, AllOf(HasSubstr("2 ranks share 1 device: efficiency is against one rank"),
                           HasSubstr("messages go through the host: NCCL needs a GPU for every "
                                     "rank")));
}

TEST_F(EmulatedBench, ScalingCountsDevices) {
  const std::string options =
      " --device.kind cuda --ranks 2 --bench.repetitions 1 --bench.mode strong "
      "--bench.roof_size 32 --train.sequence_length 32 --model.hidden_size 32 "
      "--model.num_hidden_layers 1 --model.num_attention_heads 2 --model.num_key_value_heads 1 "
      "--model.intermediate_size 48 --model.vocab_size 32 " +
      MachineFile();
  for (const int devices : {2, 1}) {
    const json report = Measure("scaling", options, "devices=" + std::to_string(devices));
    ASSERT_EQ(report.at("rows").size(), 2u);
    for (int i = 0; i < 2; ++i) {
      const json& row = report.at("rows").at(static_cast<size_t>(i));
      ExpectMeasured(row, i + 1, std::min(i + 1, devices));
      EXPECT_GT(row.at("predicted_ms"), 0);
    }
    const json& one = report.at("rows")[0];
    const json& both = report.at("rows")[1];
    const double rates = both.at("flops").get<double>() / both.at("ms").get<double>() /
                         (one.at("flops").get<double>() / one.at("ms").get<double>());
    EXPECT_NEAR(both.at("efficiency"), rates / devices, 1e-9);
    EXPECT_EQ(text_.find("efficiency is for each device") != std::string::npos, devices < 2);
  }
}

// The file that calibration writes is one that plan and bench predict by.
TEST_F(EmulatedBench, ACalibratedDeviceServesAPlan) {
  const std::string machine = dir_.At("here.ini");
  const Outcome calibrated =
      RunEmulated(Words("bench calibrate --ranks 2 --device.kind cuda --bench.sizes least "
                        "--bench.repetitions 1 --bench.head_dim 16 --machine " +
                        machine),
                  "devices=2");
  ASSERT_EQ(calibrated.status, 0) << calibrated.err;
  EXPECT_THAT(calibrated.out,
              AllOf(HasSubstr("within_node"), HasSubstr("2 ranks on devices"),
                    HasSubstr("attention_backward f32 16"), HasSubstr("messages over NCCL")));
  const std::string file = dir_.At("plan.json");
  const Outcome planned = RunEmulated(
      Words("plan --ranks 2 --device.kind cuda --model.vocab_size 256 --train.sequence_length 1000 "
            "--machine " +
            machine + " --json " + file));
  ASSERT_EQ(planned.status, 0) << planned.err;
  EXPECT_GT(ReadJson(file).at("predicted_step_ms"), 0);
  const json ring = Measure(
      "ring", std::string(kTinyAttention) + "--bench.dry true --ranks 2 --machine " + machine);
  EXPECT_TRUE(ring.at("rows")[0].at("threads_per_rank").is_null());
  EXPECT_TRUE(ring.at("rows")[0].at("devices").is_null());
}

TEST_F(EmulatedBench, WallAndAttentionNameNoThreads) {
  const json wall = Measure("wall", kTinyAttention);
  ASSERT_EQ(wall.at("rows").size(), 3u);
  for (const json& row : wall.at("rows")) {
    EXPECT_TRUE(row.at("threads").is_null());
    EXPECT_EQ(row.at("clock"), "wall time");
    EXPECT_TRUE(std::isfinite(row.at("roof_ratio").get<double>()));
  }
  EXPECT_THAT(text_, HasSubstr("a device, wall time"));
  const json attention = Measure("attention", std::string(kTinyAttention) + "--bench.dtype bf16");
  ASSERT_EQ(attention.at("rows").size(), 4u);
  for (const json& row : attention.at("rows")) {
    EXPECT_TRUE(row.at("threads").is_null());
    EXPECT_EQ(row.at("clock"), "wall time");
    EXPECT_EQ(row.at("roof_caveat"), "");
  }
}

TEST_F(EmulatedBench, MistakesSayWhatToDo) {
  for (const char* name :
       {"ring --ranks 2", "calibrate", "wall", "attention", "scaling --model.vocab_size 32"}) {
    EXPECT_THAT(Complaint(std::string(name) + " --device.kind cuda", "devices=0"),
                AllOf(HasSubstr("no device to compute on"), HasSubstr("device.kind = cpu")))
        << name;
  }
  EXPECT_THAT(Complaint("ring --ranks 2 --device.kind cuda --parallel.transport nccl", "devices=1"),
              AllOf(HasSubstr("ranks 0 and 1 share one"), HasSubstr("--parallel.transport mpi")));
  for (const char* name : {"ring", "calibrate", "scaling --model.vocab_size 32"}) {
    EXPECT_THAT(Complaint(std::string(name) + " --device.kind cuda --device.threads 2"),
                HasSubstr("device.threads = 2 counts threads of cores"))
        << name;
  }
  for (const char* name : {"wall", "attention"}) {
    EXPECT_THAT(Complaint(std::string(name) + " --device.kind cuda --bench.threads 2"),
                HasSubstr("bench.threads = 2 counts threads of cores"))
        << name;
  }
  EXPECT_THAT(Complaint("ring --parallel.transport nccl"), HasSubstr("device.kind = cuda"));
}

#ifdef ANNULUS_TEST_MPI
TEST_F(EmulatedBench, RingOverMpiIsStaged) {
  const json report = Measure("ring", std::string(kTinyAttention) + "--parallel.transport mpi",
                              "devices=2", Mpirun(2));
  ASSERT_EQ(report.at("rows").size(), 2u);
  // Of two processes, each with an emulator of its own: their first devices look like one.
  for (const json& row : report.at("rows")) EXPECT_EQ(row.at("ranks"), 2);
  EXPECT_THAT(text_, HasSubstr("staged through the host"));
}
#endif

}  // namespace
}  // namespace annulus::runtime
