#include "runtime/cli/machine_rows.h"

#include <fmt/format.h>
#include <hwy/highway.h>
#include <oneapi/dnnl/dnnl.h>

#include <algorithm>

#include "kernels/cpu/cpu_table.h"
#include "kernels/cuda/cuda_table.h"
#include "parallel/mpi_communicator.h"
#include "parallel/nccl_communicator.h"
#include "runtime/cli/version.h"

namespace annulus::runtime {
namespace {

std::string OneDnnVersion() {
  const dnnl_version_t* version = dnnl_version();
  return fmt::format("{}.{}.{}", version->major, version->minor, version->patch);
}

std::string Compiler() {
#if defined(__clang__)
  return __VERSION__;  // names Clang itself
#else
  return "GCC " __VERSION__;
#endif
}

// Targets are bits, the best one the lowest.
std::string BestHighwayTarget() {
  const int64_t targets = hwy::SupportedTargets();
  return hwy::TargetName(targets & -targets);
}

}  // namespace

std::vector<InfoRow> BuildRows() {
  const std::string cuda = kernels::CudaVersion(), nccl = parallel::NcclVersion();
  return {
      {"build", "version", Version()},
      {"build", "build_type", BuildType()},
      {"build", "compiler", Compiler()},
      {"build", "onednn", OneDnnVersion()},
      {"build", "highway", fmt::format("{}.{}.{}", HWY_MAJOR, HWY_MINOR, HWY_PATCH)},
      {"build", "mpi", parallel::MpiAvailable() ? parallel::MpiLibrary() : "not built in"},
      {"build", "cuda", cuda.empty() ? "not built in" : cuda},
      {"build", "nccl", nccl.empty() ? "not built in" : "NCCL " + nccl},
  };
}

std::vector<InfoRow> MachineRows(const MachineFacts& machine) {
  std::vector<InfoRow> rows = {
      {"machine", "cpu", machine.cpu_model},
      {"machine", "isa", InstructionSets()},
      {"machine", "highway_target", BestHighwayTarget()},
      {"machine", "cores_online", machine.cores_online},
      {"machine", "cores_physical", machine.cores_physical},
      {"machine", "memory_bytes", machine.memory_bytes},
      {"machine", "memory_available_bytes", machine.memory_available_bytes},
  };
  for (const CacheFacts& cache : machine.caches) {
    rows.push_back({"machine", cache.name + "_bytes", cache.bytes});
    rows.push_back({"machine", cache.name + "_shared_by_cores", cache.shared_by});
  }
  const std::vector<kernels::CudaDeviceFacts> devices = kernels::CudaDevices();
  rows.push_back({"machine", "cuda_devices", devices.size()});
  for (const kernels::CudaDeviceFacts& device : devices) {
    const std::string key = fmt::format("cuda_device_{}", device.index);
    rows.push_back(
        {"machine", key, fmt::format("{}, compute capability {}", device.name, device.capability)});
    rows.push_back({"machine", key + "_memory_bytes", device.memory_bytes});
  }
  return rows;
}

std::vector<InfoRow> KernelRows() {
  std::vector<InfoRow> rows;
  for (const kernels::KernelChoice& choice : kernels::CpuTable(/*threads=*/1).Choices()) {
    std::string key = choice.work;
    std::replace(key.begin(), key.end(), ' ', '_');
    rows.push_back({"kernels", key, fmt::format("{} ({})", choice.kernel, choice.reason)});
  }
  return rows;
}

nlohmann::ordered_json MachineJson() {
  nlohmann::ordered_json json;
  for (const std::vector<InfoRow>& rows :
       {BuildRows(), MachineRows(ReadMachine("/")), KernelRows()}) {
    for (const InfoRow& row : rows) json[row.key] = row.value;
  }
  return json;
}

}  // namespace annulus::runtime
