// The communicator that moves nothing: a step run against it is counted like any other. Every rank
// is taken to say what this one says: a host-side sum is size() times the value, and Split makes
// one group of all ranks, so who knows the members makes a Subgroup.
#pragma once

#include "parallel/communicator.h"

namespace annulus::parallel {

class DryCommunicator : public Communicator {
 public:
  // Requires 0 <= rank < size.
  DryCommunicator(int rank, int size);

  std::string Name() const override { return "dry"; }

 protected:
  std::unique_ptr<Operation> DoExchange(const Exchange&) override { return nullptr; }
  std::unique_ptr<Operation> DoAllGather(ConstView, View) override { return nullptr; }
  std::unique_ptr<Operation> DoAllToAll(ConstView, View) override { return nullptr; }
  std::unique_ptr<Operation> DoAllReduceSum(View) override { return nullptr; }
  std::unique_ptr<Operation> DoBroadcast(View, int) override { return nullptr; }
  std::vector<std::string> DoAllGatherText(const std::string& text) override;
  void DoBarrier() override {}
  std::unique_ptr<Communicator> DoSubgroup(const std::vector<int>& members) override;
  void DoAbort(const std::string&, int) noexcept override {}
  std::chrono::steady_clock::duration deadline() const override { return kDefaultDeadline; }
};

}  // namespace annulus::parallel
