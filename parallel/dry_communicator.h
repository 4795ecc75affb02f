// The communicator that moves nothing: a step run against it is counted like any other, and takes
// the time that the rank's links need. Every rank is taken to say what this one says: a host-side
// sum is size() times the value, and Split makes one group of all ranks, so who knows the members
// makes a Subgroup.
#pragma once

#include "parallel/communicator.h"
#include "parallel/link_clock.h"

namespace annulus::parallel {

class DryCommunicator : public Communicator {
 public:
  // Requires 0 <= rank < size.
  DryCommunicator(int rank, int size) : DryCommunicator(rank, size, nullptr) {}
  // The world of a rank whose links are `links`, which must outlive this and its subgroups.
  DryCommunicator(int size, LinkClock& links) : DryCommunicator(links.rank(), size, &links) {}

  std::string Name() const override { return "dry"; }
  // Those that were said.
  std::vector<int> FindMemoryNodes() override { return MemoryNodes(); }

 protected:
  std::unique_ptr<Operation> DoExchange(const Exchange& exchange) override;
  std::unique_ptr<Operation> DoAllGather(ConstView send, View receive) override;
  std::unique_ptr<Operation> DoAllToAll(ConstView send, View receive) override;
  std::unique_ptr<Operation> DoAllReduceSum(View data) override;
  std::unique_ptr<Operation> DoBroadcast(View data, int root) override;
  std::unique_ptr<Operation> DoLend(ConstView block, int to, int tag) override;
  std::unique_ptr<Loan::Operation> DoBorrow(const ConstView& like, int from, int tag) override;
  std::vector<std::string> DoAllGatherText(const std::string& text) override;
  void DoBarrier() override;
  std::unique_ptr<Communicator> DoSubgroup(const std::vector<int>& members) override;
  void DoAbort(const std::string&, int) noexcept override {}
  std::chrono::steady_clock::duration deadline() const override { return kDefaultDeadline; }

 private:
  DryCommunicator(int rank, int size, LinkClock* links);

  LinkLoad::Link* LinkTo(LinkLoad& load, int peer) const;
  // `bytes` to and from every other rank, in `messages` each.
  LinkLoad WithEveryPeer(int64_t messages, int64_t bytes) const;
  std::unique_ptr<Operation> Under(const LinkLoad& load, const kernels::CallCost& work = {}) const;

  LinkClock* links_ = nullptr;  // none: nothing takes time
};

}  // namespace annulus::parallel
