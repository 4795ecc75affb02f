#include "parallel/nccl_comm.h"

#include <cstring>
#include <exception>
#include <thread>

#include "kernels/base/error.h"
#include "kernels/cuda/device.h"

namespace annulus::parallel {
namespace {

using Clock = std::chrono::steady_clock;

std::string UniqueId() {
  ncclUniqueId id;
  const ncclResult_t result = ncclGetUniqueId(&id);
  if (result != ncclSuccess) {
    ThrowSystemError("ncclGetUniqueId failed: {}", ncclGetErrorString(result));
  }
  return {id.internal, sizeof id.internal};
}

}  // namespace

NcclComm::NcclComm(Communicator& host, Clock::duration deadline)
    : host_(host), deadline_(deadline) {
  const std::string text = host.BroadcastText(host.rank() == 0 ? UniqueId() : "", 0);
  ncclUniqueId id;
  Check(text.size() == sizeof id.internal, "an id of NCCL of {} bytes", text.size());
  std::memcpy(id.internal, text.data(), text.size());
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  constexpr NcclCall kInit{"ncclCommInitRankConfig"};
  try {
    Require(ncclCommInitRankConfig(&comm_, size(), id, rank(), &config), kInit);
    Settle(kInit);
  } catch (...) {
    Abort();
    throw;
  }
}

NcclComm::~NcclComm() {
  if (aborted()) return;
  // A rank that has failed does not wait for its peers.
  if (std::uncaught_exceptions() > 0) {
    Abort();
    return;
  }
  try {
    Require(ncclCommFinalize(comm_), {"ncclCommFinalize"});
    Settle({"ncclCommFinalize"});
    (void)ncclCommDestroy(comm_);
  } catch (...) {
    // All that it was for is done; peers that are gone are no failure any more.
    Abort();
  }
}

void NcclComm::Send(const void* data, int64_t bytes, int to, cudaStream_t stream) {
  Require(ncclSend(data, static_cast<size_t>(bytes), ncclInt8, to, comm_, stream),
          {"ncclSend", to});
}

void NcclComm::Receive(void* data, int64_t bytes, int from, cudaStream_t stream) {
  Require(ncclRecv(data, static_cast<size_t>(bytes), ncclInt8, from, comm_, stream),
          {"ncclRecv", from});
}

void NcclComm::AllGather(const void* send, void* receive, int64_t bytes, cudaStream_t stream) {
  constexpr NcclCall kCall{"ncclAllGather"};
  Require(ncclAllGather(send, receive, static_cast<size_t>(bytes), ncclInt8, comm_, stream), kCall);
  Settle(kCall);
}

void NcclComm::Broadcast(void* data, int64_t bytes, int root, cudaStream_t stream) {
  const NcclCall call{"ncclBroadcast", root};
  Require(ncclBroadcast(data, data, static_cast<size_t>(bytes), ncclInt8, root, comm_, stream),
          call);
  Settle(call);
}

ncclResult_t NcclComm::State() const {
  ncclResult_t state = ncclSuccess;
  const ncclResult_t result = ncclCommGetAsyncError(comm_, &state);
  return result == ncclSuccess ? state : result;
}

void NcclComm::Settle(const NcclCall& call) {
  constexpr auto kNap = std::chrono::microseconds(50);
  const Clock::time_point end = Clock::now() + deadline_;
  for (ncclResult_t state = State(); state != ncclSuccess; state = State()) {
    Require(state, call);
    host_.Progress();
    if (Clock::now() >= end) {
      Throw(call, fmt::format("not done within {:.3g} s: a rank of the group of {} did not come",
                              std::chrono::duration<double>(deadline_).count(), size()));
    }
    std::this_thread::sleep_for(kNap);
  }
}

void NcclComm::CheckHealth() const {
  if (!aborted()) Require(State(), {"ncclCommGetAsyncError"});
}

void NcclComm::Require(ncclResult_t result, const NcclCall& call) const {
  if (result == ncclSuccess || result == ncclInProgress) [[likely]]
    return;
  const char* last = ncclGetLastError(comm_);
  std::string why = ncclGetErrorString(result);
  if (last != nullptr && *last != '\0') why += fmt::format(" ({})", last);
  Throw(call, why);
}

void NcclComm::Throw(const NcclCall& call, const std::string& why) const {
  const std::string peer = call.peer < 0 ? "" : fmt::format(" with rank {}", WorldRank(call.peer));
  ThrowSystemError("rank {}: {}{} on {}: {}", WorldRank(rank()), call.name, peer,
                   kernels::cuda::DescribeCurrentDevice(), why);
}

void NcclComm::Abort() noexcept {
  if (!aborted()) (void)ncclCommAbort(comm_);
  comm_ = nullptr;
}

}  // namespace annulus::parallel
