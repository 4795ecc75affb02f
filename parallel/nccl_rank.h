// What one rank has under way over NCCL, in a group and in those split from it: all of it on one
// stream, so that ranks that issue alike cannot wait for each other in a ring.
#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/cuda/device.h"
#include "kernels/cuda/device_memory.h"
#include "parallel/nccl_all_reduce.h"
#include "parallel/nccl_comm.h"
#include "parallel/nccl_communicator.h"

namespace annulus::parallel {

// Operations of one group that begin and end together.
class NcclFlight {
 public:
  // `call` outlives this.
  explicit NcclFlight(std::string_view call) : call_(call) {}

  void AddPeer(int world_rank);
  // As in "exchange with ranks 0, 2", of the world.
  std::string What() const;

 private:
  friend class NcclRank;

  const std::string_view call_;
  std::vector<int> peers_;      // ascending
  kernels::cuda::Event ready_;  // on the compute stream, when it was launched
  kernels::cuda::Event done_;
  bool launched_ = false;
  bool awaited_ = false;  // by the compute stream
  // When the host first saw that nothing but peers could keep it from ending.
  std::optional<std::chrono::steady_clock::time_point> waits_since_;
};

class NcclRank {
 public:
  // `host`: all ranks.
  NcclRank(Communicator& host, const NcclOptions& options);
  NcclRank(const NcclRank&) = delete;
  NcclRank& operator=(const NcclRank&) = delete;

  // What carries the messages of `host`. Collective over it.
  std::shared_ptr<NcclComm> Join(Communicator& host);

  // `issue` puts the flight's work on stream(). It begins when what is on the compute stream by now
  // is done. A failure aborts everything.
  void Launch(const std::shared_ptr<NcclFlight>& flight, const std::function<void()>& issue);

  // What is put on the compute stream from now on comes after the flight. The time that this holds
  // the stream up is told to `count` once it is over; `owner` is who may Forget() that.
  using CountWait = std::function<void(double ms)>;
  void HoldUp(NcclFlight& flight, const void* owner, const CountWait& count);
  void CountWaits();
  void Forget(const void* owner);

  // Until all that was launched is done; not where something has failed.
  void Drain();

  // Looks after what is under way; throws SystemError where it has failed or takes too long.
  void Poll();
  // Throws where something has failed before; `what` is about to begin.
  void CheckAlive(std::string_view what) const;
  // This rank has failed.
  void Abandon(const std::string& why) noexcept;

  cudaStream_t stream() const { return stream_.get(); }
  const NcclStaging& staging() const { return staging_; }
  std::chrono::steady_clock::duration deadline() const { return options_.deadline; }

 private:
  // A wait of the compute stream.
  struct Wait {
    kernels::cuda::Event before{kernels::cuda::Event::Timing::kYes};
    kernels::cuda::Event after{kernels::cuda::Event::Timing::kYes};
    const void* owner = nullptr;
    CountWait count = {};
  };

  void CheckFlights();

  Communicator& host_;
  const NcclOptions options_;
  kernels::cuda::Stream stream_;
  kernels::cuda::DeviceMemory staging_memory_;
  NcclStaging staging_;
  std::vector<std::weak_ptr<NcclComm>> comms_;
  std::deque<std::shared_ptr<NcclFlight>> flights_;  // that may not be done, in the stream's order
  std::deque<std::unique_ptr<Wait>> waits_;          // in the compute stream's order
  bool failed_ = false;
  std::string failure_;
  kernels::cuda::IdleWatch watch_;  // last: calls Poll()
};

}  // namespace annulus::parallel
