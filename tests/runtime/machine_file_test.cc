// Machine files: what is read, written and refused.
#include "runtime/machine/machine_file.h"

#include <gmock/gmock.h>

#include <filesystem>

#include "tests/runtime/message_of.h"

namespace annulus::runtime {
namespace {

using kernels::DType;
using kernels::RateClass;
using testing::HasSubstr;

constexpr const char* kFile = R"([machine]
name = "a machine; with a name"
source = by hand
ranks = 4
threads_per_rank = 2
ranks_per_node = 2

[matmul f32]
overhead_us = 2.5
gflops = 200
gbytes_per_s = 10
source = a table

[attention_backward bf16 64]
gflops = 300

[elementwise f32]
gbytes_per_s = 20
cached_gbytes_per_s = 50
cache_bytes = 2M

[within_node]
latency_us = 3
gbytes_per_s = 5
host_share = 0.75

[between_nodes]
gbytes_per_s = 1

[reduce]
gbytes_per_s = 4
)";

TEST(MachineFile, IsReadInItsUnits) {
  const MachineModel machine = ParseMachine(kFile, "m.ini");
  EXPECT_EQ(machine.name, "a machine; with a name");
  EXPECT_EQ(machine.ranks, 4);
  EXPECT_EQ(machine.threads_per_rank, 2);
  const kernels::KernelRate rate =
      machine.compute.Of({.work = RateClass::kMatMul, .dtype = DType::kF32});
  EXPECT_DOUBLE_EQ(rate.overhead_s, 2.5e-6);
  EXPECT_DOUBLE_EQ(rate.s_per_flop, 1 / 200e9);
  EXPECT_DOUBLE_EQ(rate.s_per_byte, 1 / 10e9);
  const kernels::KernelRate attention = machine.compute.Of(
      {.work = RateClass::kAttentionBackward, .dtype = DType::kBF16, .head_dim = 64});
  EXPECT_DOUBLE_EQ(attention.s_per_flop, 1 / 300e9);
  EXPECT_EQ(attention.s_per_byte, 0);
  const kernels::KernelRate elementwise =
      machine.compute.Of({.work = RateClass::kElementwise, .dtype = DType::kF32});
  EXPECT_DOUBLE_EQ(elementwise.s_per_cached_byte, 1 / 50e9);
  EXPECT_EQ(elementwise.cache_bytes, 2 << 20);
  EXPECT_DOUBLE_EQ(machine.network.within_node.latency_s, 3e-6);
  EXPECT_DOUBLE_EQ(machine.network.within_node.host_share, 0.75);
  EXPECT_DOUBLE_EQ(machine.network.between_nodes.s_per_byte, 1e-9);
  EXPECT_DOUBLE_EQ(machine.network.reduce_s_per_byte, 1 / 4e9);
  EXPECT_TRUE(machine.network.SameNode(0, 1));
  EXPECT_FALSE(machine.network.SameNode(1, 2));
}

TEST(MachineFile, WhatIsWrittenReadsBackTheSame) {
  const MachineModel machine = ParseMachine(kFile, "m.ini");
  const std::string text = MachineText(machine);
  const MachineModel again = ParseMachine(text, "again.ini");
  EXPECT_EQ(MachineText(again), text);
  EXPECT_EQ(again.compute.entries().size(), 3u);
  EXPECT_EQ(again.sources, machine.sources);
  EXPECT_EQ(again.name, machine.name);
  EXPECT_DOUBLE_EQ(again.network.within_node.latency_s, machine.network.within_node.latency_s);
}

std::string ComplaintOf(const std::string& text) {
  return MessageOf<ConfigError>([&] { ParseMachine(text, "m.ini"); });
}

TEST(MachineFile, MistakesAreNamedWithTheirPlace) {
  const std::string machine = "[machine]\n";
  EXPECT_THAT(ComplaintOf(""), HasSubstr("m.ini: a machine file has a section [machine]"));
  EXPECT_THAT(ComplaintOf("ranks = 2\n"), HasSubstr("m.ini:1: ranks stands before"));
  EXPECT_THAT(ComplaintOf(machine + "rank = 2\n"), HasSubstr("m.ini:2: [machine] rank is no key"));
  EXPECT_THAT(ComplaintOf(machine + "rank = 2\n"), HasSubstr("did you mean ranks?"));
  EXPECT_THAT(ComplaintOf(machine + "ranks = 0\n"), HasSubstr("0 is out of range: 1 to"));
  EXPECT_THAT(ComplaintOf(machine + "ranks = 1\nranks = 2\n"),
              HasSubstr("already given in line 2"));
  EXPECT_THAT(ComplaintOf(machine + machine), HasSubstr("m.ini:2: [machine] is there twice"));
  for (const char* section : {"matmul", "matmul f16", "attention_forward f32",
                              "attention_forward f32 0", "matmul f32 64", "gemm f32"}) {
    EXPECT_THAT(ComplaintOf(machine + "[" + section + "]\ngflops = 1\n"),
                HasSubstr("is no section of a machine file; there are [machine]"))
        << section;
  }
  EXPECT_THAT(ComplaintOf(machine + "[attention_forward f32 x]\ngflops = 1\n"),
              HasSubstr("m.ini:2: [attention_forward f32 x]"));
  EXPECT_THAT(ComplaintOf(machine + "[matmul f32]\n"), HasSubstr("needs gflops, gbytes_per_s or"));
  EXPECT_THAT(ComplaintOf(machine + "[matmul f32]\ngflops = 0\n"), HasSubstr("above 0"));
  EXPECT_THAT(ComplaintOf(machine + "[matmul f32]\ngflops = fast\n"), HasSubstr("gflops"));
  EXPECT_THAT(ComplaintOf(machine + "[matmul f32]\ngflops = 1\noverhead_us = -1\n"),
              HasSubstr("0 or more"));
  EXPECT_THAT(ComplaintOf(machine + "[matmul f32]\ngflops = 1\ncached_gbytes_per_s = 2\n"),
              HasSubstr("cached_gbytes_per_s needs cache_bytes"));
  EXPECT_THAT(ComplaintOf(machine + "[within_node]\nlatency_us = 1\n"),
              HasSubstr("[within_node] needs gbytes_per_s"));
  EXPECT_THAT(ComplaintOf(machine + "[within_node]\ngbytes_per_s = 1\nhost_share = 2\n"),
              HasSubstr("out of range: 0 to 1"));
}

TEST(MachineFile, SaysWhichLinkIsMissing) {
  const auto complaint_of = [](const std::string& text, int ranks) {
    const MachineModel machine = ParseMachine(text, "m.ini");
    return MessageOf<ConfigError>([&] { machine.CheckLinks(ranks); });
  };
  const std::string alone = "[machine]\n";
  const std::string within = "[within_node]\ngbytes_per_s = 1\n";
  EXPECT_NO_THROW(ParseMachine(alone, "m.ini").CheckLinks(1));
  EXPECT_THAT(complaint_of(alone, 2), HasSubstr("[within_node]"));
  EXPECT_NO_THROW(ParseMachine(alone + within, "m.ini").CheckLinks(1000));
  EXPECT_THAT(complaint_of(alone + "ranks_per_node = 2\n" + within, 3),
              HasSubstr("no section [between_nodes], which 3 ranks need at ranks_per_node = 2"));
}

TEST(MachineFile, MissingFilesAreNamedByTheOption) {
  EXPECT_THAT(MessageOf<ConfigError>([] { ReadMachineFile("no/such/file.ini"); }),
              HasSubstr("machine: cannot read no/such/file.ini"));
}

TEST(MachineFile, ThoseThatComeWithTheProgramAreRead) {
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(ANNULUS_MACHINES)) {
    if (entry.path().extension() != ".ini") continue;
    const MachineModel machine = ReadMachineFile(entry.path().string());
    EXPECT_FALSE(machine.name.empty()) << entry.path();
    EXPECT_FALSE(machine.source.empty()) << entry.path();
    EXPECT_TRUE(machine.has_within_node) << entry.path();
    ++files;
  }
  EXPECT_GE(files, 3);
}

}  // namespace
}  // namespace annulus::runtime
