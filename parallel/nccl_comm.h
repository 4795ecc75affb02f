// A communicator of NCCL, owned: made and ended without ever blocking for good.
#pragma once

#include <cuda_runtime.h>
#include <nccl.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "parallel/communicator.h"

namespace annulus::parallel {

// A peer that a call concerns; none where it is negative.
struct NcclCall {
  std::string_view name;  // as in "ncclSend"
  int peer = -1;          // of the group
};

class NcclComm {
 public:
  // Of all ranks of `host`, on the calling thread's device. Collective. `host` must outlive this.
  // Throws SystemError where NCCL fails, or is not done within `deadline`.
  NcclComm(Communicator& host, std::chrono::steady_clock::duration deadline);
  // Ends it together with the other ranks, or aborts where this rank has failed.
  ~NcclComm();
  NcclComm(const NcclComm&) = delete;
  NcclComm& operator=(const NcclComm&) = delete;

  int rank() const { return host_.rank(); }
  int size() const { return host_.size(); }
  int WorldRank(int rank) const { return host_.WorldRank(rank); }

  // Bytes on `stream`, within a Group() where more than one is under way at a time.
  void Send(const void* data, int64_t bytes, int to, cudaStream_t stream);
  void Receive(void* data, int64_t bytes, int from, cudaStream_t stream);
  void AllGather(const void* send, void* receive, int64_t bytes, cudaStream_t stream);
  void Broadcast(void* data, int64_t bytes, int root, cudaStream_t stream);

  // What `calls` issues begins and ends together.
  template <class Calls>
  void Group(const Calls& calls) {
    Require(ncclGroupStart(), {"ncclGroupStart"});
    try {
      calls();
    } catch (...) {
      (void)ncclGroupEnd();  // what failed first is told
      throw;
    }
    Require(ncclGroupEnd(), {"ncclGroupEnd"});
    Settle({"ncclGroupEnd"});
  }

  // Throws SystemError where NCCL has found something wrong meanwhile.
  void CheckHealth() const;
  // Nothing of it stays on the device, and nothing more can be done with it.
  void Abort() noexcept;
  bool aborted() const { return comm_ == nullptr; }

 private:
  // Until what was issued is on its stream: NCCL may have to connect to a peer first.
  void Settle(const NcclCall& call);
  ncclResult_t State() const;
  void Require(ncclResult_t result, const NcclCall& call) const;
  [[noreturn]] void Throw(const NcclCall& call, const std::string& why) const;

  Communicator& host_;
  const std::chrono::steady_clock::duration deadline_;
  ncclComm_t comm_ = nullptr;
};

}  // namespace annulus::parallel
