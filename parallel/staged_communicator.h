// A communicator for tensors in a device's memory, over one that reads and writes the host's: what
// is sent is copied to the host first, what is received is copied to the device when it is waited
// for. The host moves the messages while the device computes.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "kernels/base/kernel_table.h"
#include "parallel/communicator.h"

namespace annulus::parallel {

// Host memory for messages, handed out again once it is back; grown by the first step, as a step
// sends what the one before sent.
class StagingMemory {
 public:
  // `table` must outlive this.
  explicit StagingMemory(kernels::KernelTable& table) : table_(table) {}

  class Lease;
  // At least `bytes`. The memory must outlive the lease.
  Lease Take(int64_t bytes);
  // All there is, handed out or not.
  int64_t bytes() const { return bytes_; }

 private:
  struct Block {
    kernels::OwnedMemory memory;
    int64_t bytes;
  };

  kernels::KernelTable& table_;
  std::vector<Block> free_;
  int64_t bytes_ = 0;
};

class StagingMemory::Lease {
 public:
  Lease() = default;
  Lease(StagingMemory& owner, Block block) : owner_(&owner), block_(std::move(block)) {}
  Lease(Lease&& other) noexcept
      : owner_(std::exchange(other.owner_, nullptr)), block_(std::move(other.block_)) {}
  Lease& operator=(Lease&&) = delete;
  ~Lease() {
    if (owner_ != nullptr) owner_->free_.push_back(std::move(block_));
  }

  std::byte* data() const { return block_.memory.get(); }

 private:
  StagingMemory* owner_ = nullptr;
  Block block_{};
};

class StagedCommunicator final : public Communicator {
 public:
  // `host` is the group itself, over the host's memory; `table` computes on the device whose memory
  // tensors are in, and orders its work before what is sent and after what is received. Both must
  // outlive this. What happens is counted and observed here, not in `host`.
  StagedCommunicator(Communicator& host, kernels::KernelTable& table);

  // As in "threads, staged through the host".
  std::string Name() const override;
  void Progress() override { host_->Progress(); }

  const StagingMemory& staging() const { return *staging_; }

 protected:
  std::unique_ptr<Operation> DoExchange(const Exchange& exchange) override;
  std::unique_ptr<Operation> DoAllGather(ConstView send, View receive) override;
  std::unique_ptr<Operation> DoAllToAll(ConstView send, View receive) override;
  std::unique_ptr<Operation> DoAllReduceSum(View data) override;
  std::unique_ptr<Operation> DoBroadcast(View data, int root) override;
  std::vector<std::string> DoAllGatherText(const std::string& text) override;
  void DoBarrier() override { host_->Barrier(); }
  std::unique_ptr<Communicator> DoSubgroup(const std::vector<int>& members) override;
  void DoAbort(const std::string& why, int exit_status) noexcept override {
    host_->Abort(why, exit_status);
  }
  // Until the device has done its work, messages are moved on.
  void BeforeWait() override;
  // The waits are those of `host`.
  std::chrono::steady_clock::duration deadline() const override;

 private:
  class StagedOperation;
  // A subgroup, with the staging memory of the group it is made of.
  StagedCommunicator(std::unique_ptr<Communicator> host, const StagedCommunicator& parent);

  // Host memory for a tensor that is sent, with its contents, or received.
  StagingMemory::Lease Download(const ConstView& from);
  StagingMemory::Lease RoomFor(const ConstView& view);

  std::unique_ptr<Communicator> owned_;  // host_ of a subgroup
  Communicator* host_;
  kernels::KernelTable& table_;
  std::shared_ptr<StagingMemory> staging_;
};

}  // namespace annulus::parallel
