// Facts of a machine, read from a tree of files that stands for it.
#include "runtime/machine/machine.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <string>

#include "runtime/machine/cgroup.h"

namespace annulus::runtime {
namespace {

namespace fs = std::filesystem;

class MachineTest : public testing::Test {
 protected:
  MachineTest() { fs::remove_all(root_); }
  ~MachineTest() override { fs::remove_all(root_); }

  void Write(const std::string& path, std::string_view text) {
    fs::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << text;
  }

  void WriteCache(int cpu, int index, const std::map<std::string, std::string>& files) {
    for (const auto& [name, text] : files) {
      Write(fmt::format("sys/devices/system/cpu/cpu{}/cache/index{}/{}", cpu, index, name),
            text + "\n");
    }
  }

  const fs::path root_ =
      fs::path(testing::TempDir()) / testing::UnitTest::GetInstance()->current_test_info()->name();
};

TEST_F(MachineTest, ReadsWhatTheKernelSays) {
  Write("proc/cpuinfo", "processor\t: 0\nmodel name\t: A CPU: fast\n\nmodel name\t: other\n");
  Write("proc/meminfo", "MemTotal:       1024 kB\nMemFree: 1 kB\nMemAvailable:    512 kB\n");
  Write("sys/devices/system/cpu/online", "0-2,4\n");
  for (int cpu : {0, 1, 2, 4}) {
    Write(fmt::format("sys/devices/system/cpu/cpu{}/topology/thread_siblings_list", cpu),
          cpu < 2 ? "0-1\n" : "2,4\n");
  }
  WriteCache(0, 0, {{"level", "1"}, {"type", "Data"}, {"size", "48K"}, {"shared_cpu_list", "0-1"}});
  WriteCache(0, 1, {{"level", "1"}, {"type", "Instruction"}, {"size", "32K"}});
  WriteCache(0, 2,
             {{"level", "3"}, {"type", "Unified"}, {"size", "32M"}, {"shared_cpu_list", "0-2,4"}});
  const MachineFacts machine = ReadMachine(root_);
  EXPECT_EQ(machine.cpu_model, "A CPU: fast");
  EXPECT_EQ(machine.cores_online, 4);
  EXPECT_EQ(machine.cores_physical, 2);
  EXPECT_EQ(machine.memory_bytes, 1 << 20);
  EXPECT_EQ(machine.memory_available_bytes, 1 << 19);
  ASSERT_EQ(machine.caches.size(), 2u);
  EXPECT_EQ(machine.caches[0].name, "l1d");
  EXPECT_EQ(machine.caches[0].bytes, 48 << 10);
  EXPECT_EQ(machine.caches[0].shared_by, 2);
  EXPECT_EQ(machine.caches[1].name, "l3");
  EXPECT_EQ(machine.caches[1].bytes, 32 << 20);
  EXPECT_EQ(machine.caches[1].shared_by, 4);
  EXPECT_EQ(machine.cgroup_cores, 0);
  EXPECT_EQ(machine.cgroup_memory_bytes, 0);
}

TEST_F(MachineTest, WhatIsNotThereIsEmpty) {
  const MachineFacts machine = ReadMachine(root_);
  EXPECT_EQ(machine.cpu_model, "");
  EXPECT_EQ(machine.cores_online, 0);
  EXPECT_EQ(machine.cores_physical, 0);
  EXPECT_EQ(machine.memory_bytes, 0);
  EXPECT_TRUE(machine.caches.empty());
}

TEST_F(MachineTest, ReadsAndWritesListsOfCores) {
  using testing::ElementsAre;
  EXPECT_THAT(ParseCpuList("0"), ElementsAre(0));
  EXPECT_THAT(ParseCpuList("0-3,8,10-11"), ElementsAre(0, 1, 2, 3, 8, 10, 11));
  for (const char* list : {"", "x", "3-1", "0-", "-1", "0--1", "99999999999"}) {
    EXPECT_TRUE(ParseCpuList(list).empty()) << list;
  }
  for (const char* list : {"", "0", "0-3,8,10-11", "5-6,63"}) {
    EXPECT_EQ(CpuListText(ParseCpuList(list)), list);
  }
}

TEST_F(MachineTest, TheStrictestGroupOfVersion2Counts) {
  Write("proc/self/cgroup", "0::/a/b\n");
  Write("sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
  Write("sys/fs/cgroup/a/b/memory.max", "4096\n");
  Write("sys/fs/cgroup/a/cpu.max", "150000 100000\n");
  Write("sys/fs/cgroup/a/memory.max", "8192\n");
  const CgroupLimits limits = ReadCgroupLimits(root_);
  EXPECT_EQ(limits.cores, 1.5);
  EXPECT_EQ(limits.memory_bytes, 4096);
}

TEST_F(MachineTest, GroupsOfVersion1AreRead) {
  Write("proc/self/cgroup", "4:memory:/job\n2:cpu,cpuacct:/job\nnonsense\n");
  Write("sys/fs/cgroup/memory/job/memory.limit_in_bytes", "9223372036854771712\n");
  Write("sys/fs/cgroup/memory/memory.limit_in_bytes", "1048576\n");
  Write("sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us", "-1\n");
  Write("sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_period_us", "100000\n");
  Write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "200000\n");
  Write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
  const CgroupLimits limits = ReadCgroupLimits(root_);
  EXPECT_EQ(limits.cores, 2);
  EXPECT_EQ(limits.memory_bytes, 1 << 20);
}

TEST_F(MachineTest, AContainerSeesItsGroupAsTheRoot) {
  Write("proc/self/cgroup", "0::/not/seen/here\n");
  Write("sys/fs/cgroup/cpu.max", "50000 100000\n");
  EXPECT_EQ(ReadCgroupLimits(root_).cores, 0.5);
}

TEST_F(MachineTest, NoGroupsNoLimits) {
  EXPECT_EQ(ReadCgroupLimits(root_).cores, 0);
  Write("proc/self/cgroup", "0::/\n");
  Write("sys/fs/cgroup/cpu.max", "max 100000\n");
  Write("sys/fs/cgroup/memory.max", "max\n");
  EXPECT_EQ(ReadCgroupLimits(root_).cores, 0);
  EXPECT_EQ(ReadCgroupLimits(root_).memory_bytes, 0);
}

TEST(ProcessTest, MayRunSomewhere) {
  const std::vector<int> cores = AffinityCores();
  EXPECT_GE(cores.size(), 1u);
  EXPECT_LE(cores.size(), static_cast<size_t>(std::max(1, ReadMachine("/").cores_online)));
  EXPECT_TRUE(std::is_sorted(cores.begin(), cores.end()));
}

}  // namespace
}  // namespace annulus::runtime
