// The life of communicators.
#include <atomic>
#include <condition_variable>
#include <cstring>
#include <map>

#include "tests/cuda/emulator/options.h"
#include "tests/cuda/emulator/report.h"
#include "tests/cuda/emulator/text.h"
#include "tests/cuda/nccl/control.h"
#include "tests/cuda/nccl/handles.h"

namespace annulus::nccl_stand_in {
namespace {

std::condition_variable joined;                       // with mutex
std::map<uint64_t, std::shared_ptr<Clique>> cliques;  // by id; guarded by mutex
std::deque<ncclComm> comms;                           // ever made; guarded by mutex

bool IsComplete(const Clique& clique) {
  for (const ncclComm_t member : clique.members) {
    if (member == nullptr) return false;
  }
  return true;
}

// With mutex. Why `rank` cannot be one of a clique on a device; empty where it can.
std::string Refusal(const Clique& clique, int ranks, int rank, int device) {
  if (clique.ranks != ranks) return emulator::Text("%d ranks and %d", clique.ranks, ranks);
  if (rank < 0 || rank >= ranks) return emulator::Text("rank %d of %d", rank, ranks);
  for (const ncclComm_t member : clique.members) {
    if (member == nullptr) continue;
    if (member->rank == rank) return emulator::Text("rank %d twice", rank);
    if (member->device == device) {
      return emulator::Text("Duplicate GPU detected: ranks %d and %d on device %d", member->rank,
                            rank, device);
    }
  }
  return "";
}

}  // namespace

ncclResult_t Fail(ncclComm_t comm, ncclResult_t result, const std::string& why) {
  emulator::Tell(emulator::Defect::kStream, "NCCL: " + why);
  if (comm != nullptr) {
    const std::lock_guard lock(mutex);
    comm->last_error = why;
  }
  return result;
}

bool IsUsable(ncclComm_t comm, const char* call) {
  const char* why = nullptr;
  {
    const std::lock_guard lock(mutex);
    if (comm == nullptr)
      why = "no communicator";
    else if (comm->aborted)
      why = "a communicator that was aborted";
    else if (comm->destroyed)
      why = "a communicator that was destroyed";
  }
  if (why != nullptr) Fail(nullptr, ncclInvalidArgument, std::string(call) + " with " + why);
  return why == nullptr;
}

bool IsReady(ncclComm_t comm, const char* call) {
  if (!IsUsable(comm, call)) return false;
  const char* why = nullptr;
  {
    const std::lock_guard lock(mutex);
    if (comm->finalized)
      why = " with a communicator that was finalized";
    else if (!IsComplete(*comm->clique))
      why = " before all ranks have joined";
    else if (!comm->issued.empty())
      why = " before the state after the last call was asked for";
  }
  if (why != nullptr) Fail(comm, ncclInvalidUsage, call + std::string(why));
  return why == nullptr;
}

void FailDevice(ncclResult_t error) {
  const std::lock_guard lock(mutex);
  for (ncclComm& comm : comms) {
    if (comm.device == emulator::CurrentDevice()) comm.error = error;
  }
}

int LiveComms() {
  const std::lock_guard lock(mutex);
  int live = 0;
  for (const ncclComm& comm : comms) live += comm.aborted || comm.destroyed ? 0 : 1;
  return live;
}

namespace {

// All that was put on streams has run. Runs some of it.
bool IsQuiet(ncclComm_t comm) {
  std::vector<emulator::Point> points;
  {
    const std::lock_guard lock(mutex);
    std::erase_if(comm->pending,
                  [](const std::shared_ptr<Launch>& launch) { return launch->done; });
    for (const auto& launch : comm->pending) points.push_back(launch->point());
  }
  bool quiet = true;
  for (const emulator::Point& point : points) quiet = emulator::RunSomeFor(point) && quiet;
  return quiet;
}

}  // namespace
}  // namespace annulus::nccl_stand_in

using namespace annulus::nccl_stand_in;  // NOLINT: NCCL's names are global

extern "C" {

ncclResult_t ncclGetVersion(int* version) {
  *version = NCCL_VERSION_CODE;
  return ncclSuccess;
}

const char* ncclGetErrorString(ncclResult_t result) {
  switch (result) {
    case ncclSuccess:
      return "no error";
    case ncclUnhandledCudaError:
      return "unhandled cuda error";
    case ncclSystemError:
      return "unhandled system error";
    case ncclInternalError:
      return "internal error";
    case ncclInvalidArgument:
      return "invalid argument";
    case ncclInvalidUsage:
      return "invalid usage";
    case ncclRemoteError:
      return "remote process exited or there was a network error";
    case ncclInProgress:
      return "NCCL operation in progress";
  }
  return "unknown result code";
}

const char* ncclGetLastError(ncclComm_t comm) {
  return comm == nullptr ? "" : comm->last_error.c_str();
}

ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  static std::atomic<uint64_t> made = 0;
  const uint64_t number = ++made;
  std::memset(id->internal, 0, sizeof id->internal);
  std::memcpy(id->internal, &number, sizeof number);
  return ncclSuccess;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t* result, int ranks, ncclUniqueId id, int rank,
                                    ncclConfig_t* config) {
  uint64_t number = 0;
  std::memcpy(&number, id.internal, sizeof number);
  const int device = annulus::emulator::CurrentDevice();
  std::unique_lock lock(mutex);
  std::shared_ptr<Clique>& clique = cliques[number];
  if (!clique) {
    clique = std::make_shared<Clique>();
    clique->ranks = ranks;
    clique->members.resize(static_cast<size_t>(ranks));
  }
  const std::string refusal = Refusal(*clique, ranks, rank, device);
  if (!refusal.empty()) {
    lock.unlock();
    return Fail(nullptr, ncclInvalidUsage, "ncclCommInitRankConfig: " + refusal);
  }
  ncclComm& comm = comms.emplace_back();
  comm.clique = clique;
  comm.rank = rank;
  comm.device = device;
  comm.blocking = config == nullptr || config->blocking != 0;
  clique->members[static_cast<size_t>(rank)] = *result = &comm;
  joined.notify_all();
  if (!comm.blocking) return ncclInProgress;
  const auto patience = std::chrono::duration<double>(annulus::emulator::TheOptions().patience_s);
  const bool complete = joined.wait_for(lock, patience, [&] { return IsComplete(*comm.clique); });
  return complete ? ncclSuccess : ncclSystemError;
}

// Puts on streams what was issued, and says so at the next call.
ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t* state) {
  if (!IsUsable(comm, "ncclCommGetAsyncError")) return ncclInvalidArgument;
  std::vector<std::shared_ptr<Launch>> issued;
  {
    const std::lock_guard lock(mutex);
    *state = comm->error;
    if (comm->error != ncclSuccess) return ncclSuccess;
    if (!IsComplete(*comm->clique)) *state = ncclInProgress;
    issued.swap(comm->issued);
  }
  if (!issued.empty()) *state = ncclInProgress;
  for (const std::shared_ptr<Launch>& launch : issued) Enqueue(launch);
  if (comm->finalized) {
    const bool quiet = IsQuiet(comm);
    const std::lock_guard lock(mutex);
    if (!quiet || comm->clique->finalized < comm->clique->ranks) *state = ncclInProgress;
  }
  return ncclSuccess;
}

ncclResult_t ncclCommFinalize(ncclComm_t comm) {
  if (!IsReady(comm, "ncclCommFinalize")) return ncclInvalidUsage;
  const std::lock_guard lock(mutex);
  comm->finalized = true;
  ++comm->clique->finalized;
  return comm->blocking ? ncclSuccess : ncclInProgress;
}

ncclResult_t ncclCommDestroy(ncclComm_t comm) {
  if (!IsUsable(comm, "ncclCommDestroy")) return ncclInvalidArgument;
  if (!IsQuiet(comm)) Fail(comm, ncclInvalidUsage, "ncclCommDestroy while messages are under way");
  const std::lock_guard lock(mutex);
  comm->destroyed = true;
  return ncclSuccess;
}

ncclResult_t ncclCommAbort(ncclComm_t comm) {
  if (!IsUsable(comm, "ncclCommAbort")) return ncclInvalidArgument;
  std::vector<std::shared_ptr<Launch>> pending;
  {
    const std::lock_guard lock(mutex);
    comm->aborted = true;
    pending = comm->pending;
  }
  // Who waits for its streams hears of it.
  for (const std::shared_ptr<Launch>& launch : pending) {
    annulus::emulator::Enqueue(launch->stream, {"an abort", {}, {}, {}});
  }
  return ncclSuccess;
}

}  // extern "C"
