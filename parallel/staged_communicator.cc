#include "parallel/staged_communicator.h"

#include <algorithm>
#include <thread>

namespace annulus::parallel {
namespace {

ConstView OnHost(const ConstView& view, const StagingMemory::Lease& lease) {
  ConstView host = view;
  host.data = lease.data();
  return host;
}

View OnHost(const View& view, const StagingMemory::Lease& lease) {
  View host = view;
  host.data = lease.data();
  return host;
}

}  // namespace

StagingMemory::Lease StagingMemory::Take(int64_t bytes) {
  const auto smaller = [](const Block& a, const Block& b) { return a.bytes < b.bytes; };
  std::sort(free_.begin(), free_.end(), smaller);
  const auto fits = std::find_if(free_.begin(), free_.end(),
                                 [&](const Block& block) { return block.bytes >= bytes; });
  if (fits != free_.end()) {
    Block block = std::move(*fits);
    free_.erase(fits);
    return {*this, std::move(block)};
  }
  bytes_ += bytes;
  return {*this, Block{table_.AllocateHost(bytes), bytes}};
}

// Completes on the host, then copies what came to where it belongs.
class StagedCommunicator::StagedOperation final : public Operation {
 public:
  struct Arrival {
    StagingMemory::Lease from;
    View to = {};  // of no dims: nothing
  };

  StagedOperation(kernels::KernelTable& table, StagingMemory::Lease sent, Arrival arrival)
      : table_(table), sent_(std::move(sent)), arrival_(std::move(arrival)) {}

  void Begin(Transfer transfer) { transfer_ = std::move(transfer); }
  View received() const { return OnHost(arrival_.to, arrival_.from); }

  void Complete(std::chrono::steady_clock::time_point) override {
    transfer_.Wait();
    if (arrival_.to.rank > 0) table_.CopyFromHost(arrival_.from.data(), arrival_.to);
  }

 private:
  kernels::KernelTable& table_;
  StagingMemory::Lease sent_;
  Arrival arrival_;
  Transfer transfer_;  // ends before the memory that it moves
};

StagedCommunicator::StagedCommunicator(Communicator& host, kernels::KernelTable& table)
    : Communicator(host.rank(), host.size()),
      host_(&host),
      table_(table),
      staging_(std::make_shared<StagingMemory>(table)) {}

StagedCommunicator::StagedCommunicator(std::unique_ptr<Communicator> host,
                                       const StagedCommunicator& parent)
    : Communicator(host->rank(), host->size()),
      owned_(std::move(host)),
      host_(owned_.get()),
      table_(parent.table_),
      staging_(parent.staging_) {}

std::string StagedCommunicator::Name() const { return host_->Name() + ", staged through the host"; }

std::chrono::steady_clock::duration StagedCommunicator::deadline() const {
  return kDefaultDeadline;
}

void StagedCommunicator::BeforeWait() {
  while (!table_.Idle()) {
    host_->Progress();
    std::this_thread::yield();
  }
}

StagingMemory::Lease StagedCommunicator::RoomFor(const ConstView& view) {
  return staging_->Take(view.size_bytes());
}

StagingMemory::Lease StagedCommunicator::Download(const ConstView& from) {
  StagingMemory::Lease lease = RoomFor(from);
  if (from.size() > 0) table_.CopyToHost(from, lease.data());
  return lease;
}

std::unique_ptr<Communicator::Operation> StagedCommunicator::DoExchange(const Exchange& exchange) {
  StagingMemory::Lease sent = Download(exchange.send);
  Exchange on_host = exchange;
  on_host.send = OnHost(exchange.send, sent);
  auto operation = std::make_unique<StagedOperation>(
      table_, std::move(sent),
      StagedOperation::Arrival{RoomFor(exchange.receive), exchange.receive});
  on_host.receive = operation->received();
  operation->Begin(host_->Start(on_host));
  return operation;
}

std::unique_ptr<Communicator::Operation> StagedCommunicator::DoAllGather(ConstView send,
                                                                         View receive) {
  StagingMemory::Lease sent = Download(send);
  const ConstView on_host = OnHost(send, sent);
  auto operation = std::make_unique<StagedOperation>(
      table_, std::move(sent), StagedOperation::Arrival{RoomFor(receive), receive});
  operation->Begin(host_->AllGather(on_host, operation->received()));
  return operation;
}

std::unique_ptr<Communicator::Operation> StagedCommunicator::DoAllToAll(ConstView send,
                                                                        View receive) {
  StagingMemory::Lease sent = Download(send);
  const ConstView on_host = OnHost(send, sent);
  auto operation = std::make_unique<StagedOperation>(
      table_, std::move(sent), StagedOperation::Arrival{RoomFor(receive), receive});
  operation->Begin(host_->AllToAll(on_host, operation->received()));
  return operation;
}

std::unique_ptr<Communicator::Operation> StagedCommunicator::DoAllReduceSum(View data) {
  auto operation = std::make_unique<StagedOperation>(
      table_, StagingMemory::Lease(), StagedOperation::Arrival{Download(data), data});
  operation->Begin(host_->AllReduceSum(operation->received()));
  return operation;
}

std::unique_ptr<Communicator::Operation> StagedCommunicator::DoBroadcast(View data, int root) {
  StagingMemory::Lease lease = rank() == root ? Download(data) : RoomFor(data);
  const View on_host = OnHost(data, lease);
  const View arrives = rank() == root ? View() : data;
  auto operation = std::make_unique<StagedOperation>(
      table_, StagingMemory::Lease(), StagedOperation::Arrival{std::move(lease), arrives});
  operation->Begin(host_->Broadcast(on_host, root));
  return operation;
}

std::vector<std::string> StagedCommunicator::DoAllGatherText(const std::string& text) {
  return host_->AllGatherText(text);
}

std::unique_ptr<Communicator> StagedCommunicator::DoSubgroup(const std::vector<int>& members) {
  return std::unique_ptr<Communicator>(new StagedCommunicator(host_->Subgroup(members), *this));
}

}  // namespace annulus::parallel
