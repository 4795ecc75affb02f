// What this machine and this process offer, read from the kernel's file systems.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace annulus::runtime {

struct CacheFacts {
  std::string name;  // "l1d", "l2", "l3"
  int64_t bytes = 0;
  int shared_by = 0;  // logical cores
};

// A fact that cannot be read stays 0 or empty.
struct MachineFacts {
  std::string cpu_model;
  int cores_online = 0;  // logical
  int cores_physical = 0;
  int64_t memory_bytes = 0;
  int64_t memory_available_bytes = 0;
  std::vector<CacheFacts> caches;   // for data, of the first online core
  double cgroup_cores = 0;          // cores that the control group may use; 0: no limit
  int64_t cgroup_memory_bytes = 0;  // 0: no limit
};

// Reads proc/ and sys/ under `root`. Never throws for what is not there.
MachineFacts ReadMachine(const std::filesystem::path& root);

// Logical cores that this process may run on, ascending.
std::vector<int> AffinityCores();

// Names of the instruction-set extensions that matter to the kernels and that this CPU has.
std::vector<std::string> InstructionSets();

// The numbers in a list of the kernel's, as in "0-3,8". None for text of another form.
std::vector<int> ParseCpuList(std::string_view list);
// Ascending numbers as such a list.
std::string CpuListText(const std::vector<int>& cpus);

}  // namespace annulus::runtime
