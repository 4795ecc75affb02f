// A machine model as an INI file. docs/performance-model.md describes its sections:
//
//   [machine]                 name, source, ranks, threads_per_rank, ranks_per_node
//   [matmul bf16]             overhead_us, gflops, gbytes_per_s, source
//   [attention_forward f32 64]    likewise, and attention_backward, elementwise
//   [within_node]             latency_us, gbytes_per_s, host_share, source; also [between_nodes]
//   [reduce]                  gbytes_per_s, source
#pragma once

#include <string>
#include <string_view>

#include "runtime/machine/machine_model.h"

namespace annulus::runtime {

// `name` stands for the file in errors. Throws ConfigError "name:line: ..." for what is unknown,
// repeated, missing or out of range.
MachineModel ParseMachine(std::string_view text, std::string_view name);

// Reads and parses a file. Throws ConfigError where it cannot be read as text.
MachineModel ReadMachineFile(const std::string& path);

// A file that ParseMachine reads back to the same model, up to the digits it writes (6).
std::string MachineText(const MachineModel& machine);

}  // namespace annulus::runtime
