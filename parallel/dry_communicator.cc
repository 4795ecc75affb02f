#include "parallel/dry_communicator.h"

#include <algorithm>

#include "kernels/base/error.h"

namespace annulus::parallel {
namespace {

// A transfer that takes time, and then what this rank computes of what came.
class TimedOperation final : public Transfer::Operation {
 public:
  TimedOperation(LinkClock& links, const LinkLoad& load, const kernels::CallCost& work)
      : links_(links), flight_(links.Start(load)), work_(work) {}

  void Complete(std::chrono::steady_clock::time_point) override {
    links_.Wait(flight_);
    kernels::DryClock& clock = links_.clock();
    if (work_.bytes > 0) clock.StandUntil(clock.now_s() + SumSeconds());
  }

 private:
  double SumSeconds() const {
    const NetworkRates* network = links_.network();
    if (network == nullptr || network->reduce_s_per_byte == 0) {
      return links_.clock().SecondsOf(work_);
    }
    return network->reduce_s_per_byte * static_cast<double>(work_.bytes);
  }

  LinkClock& links_;
  LinkClock::Flight flight_;
  kernels::CallCost work_;
};

// A block that nobody reads, and the word that it is ready.
class DryLoan final : public Loan::Operation {
 public:
  DryLoan(const void* address, std::unique_ptr<Transfer::Operation> word)
      : address_(address), word_(std::move(word)) {}

  const void* Open(std::chrono::steady_clock::time_point deadline) override {
    if (word_) word_->Complete(deadline);
    return address_;
  }
  void Return() override {}

 private:
  const void* address_;
  std::unique_ptr<Transfer::Operation> word_;
};

void Add(LinkLoad::Side& side, int64_t messages, int64_t bytes) {
  side.messages += messages;
  side.bytes += bytes;
}

bool Travels(const ConstView& view) { return view.rank > 0 && view.size() > 0; }

}  // namespace

DryCommunicator::DryCommunicator(int rank, int size, LinkClock* links)
    : Communicator(rank, size), links_(links) {
  Check(rank >= 0 && rank < size, "rank {} of {}", rank, size);
}

LinkLoad::Link* DryCommunicator::LinkTo(LinkLoad& load, int peer) const {
  return links_->LinkTo(load, WorldRank(peer));
}

LinkLoad DryCommunicator::WithEveryPeer(int64_t messages, int64_t bytes) const {
  LinkLoad load;
  for (int peer = 0; peer < size(); ++peer) {
    if (LinkLoad::Link* link = LinkTo(load, peer)) {
      Add(link->out, messages, bytes);
      Add(link->in, messages, bytes);
    }
  }
  return load;
}

std::unique_ptr<Communicator::Operation> DryCommunicator::Under(
    const LinkLoad& load, const kernels::CallCost& work) const {
  return std::make_unique<TimedOperation>(*links_, load, work);
}

std::unique_ptr<Communicator::Operation> DryCommunicator::DoExchange(const Exchange& exchange) {
  if (links_ == nullptr) return nullptr;
  LinkLoad load;
  if (Travels(exchange.send)) {
    if (auto* link = LinkTo(load, exchange.to)) Add(link->out, 1, exchange.send.size_bytes());
  }
  if (Travels(exchange.receive)) {
    if (auto* link = LinkTo(load, exchange.from)) Add(link->in, 1, exchange.receive.size_bytes());
  }
  return Under(load);
}

std::unique_ptr<Communicator::Operation> DryCommunicator::DoAllGather(ConstView send, View) {
  if (links_ == nullptr) return nullptr;
  return Under(WithEveryPeer(1, send.size_bytes()));
}

std::unique_ptr<Communicator::Operation> DryCommunicator::DoAllToAll(ConstView send, View) {
  if (links_ == nullptr) return nullptr;
  return Under(WithEveryPeer(1, send.size_bytes() / size()));
}

// Its share of every other rank's part, to be summed, and the sums back.
std::unique_ptr<Communicator::Operation> DryCommunicator::DoAllReduceSum(View data) {
  if (links_ == nullptr) return nullptr;
  const int64_t own = ShareOf(data.size(), rank(), size()).size();
  LinkLoad load;
  for (int peer = 0; peer < size(); ++peer) {
    const int64_t bytes =
        (own + ShareOf(data.size(), peer, size()).size()) * kernels::SizeOf(data.dtype);
    if (auto* link = LinkTo(load, peer)) {
      Add(link->out, 2, bytes);
      Add(link->in, 2, bytes);
    }
  }
  return Under(load, {.work = kernels::RateClass::kElementwise,
                      .dtype = data.dtype,
                      .flops = own * (size() - 1),
                      .bytes = own * size() * kernels::SizeOf(data.dtype)});
}

// A rank has it when the root is done with all of them.
std::unique_ptr<Communicator::Operation> DryCommunicator::DoBroadcast(View data, int root) {
  if (links_ == nullptr) return nullptr;
  LinkLoad load;
  if (rank() == root) {
    for (int peer = 0; peer < size(); ++peer) {
      if (auto* link = LinkTo(load, peer)) Add(link->out, 1, data.size_bytes());
    }
  } else if (auto* link = LinkTo(load, root)) {
    Add(link->in, size() - 1, (size() - 1) * data.size_bytes());
  }
  return Under(load);
}

// A word that the block is ready. That it was read is said while the lender computes.
std::unique_ptr<Communicator::Operation> DryCommunicator::DoLend(ConstView, int to, int) {
  if (links_ == nullptr) return nullptr;
  LinkLoad load;
  if (auto* link = LinkTo(load, to)) Add(link->out, 1, 0);
  return Under(load);
}

std::unique_ptr<Loan::Operation> DryCommunicator::DoBorrow(const ConstView& like, int from, int) {
  LinkLoad load;
  if (links_ == nullptr) return std::make_unique<DryLoan>(like.data, nullptr);
  if (auto* link = LinkTo(load, from)) Add(link->in, 1, 0);
  return std::make_unique<DryLoan>(like.data, Under(load));
}

// Sizes, then contents.
std::vector<std::string> DryCommunicator::DoAllGatherText(const std::string& text) {
  if (links_ != nullptr) {
    const auto bytes = static_cast<int64_t>(text.size() + sizeof(int64_t));
    links_->Wait(links_->Start(WithEveryPeer(2, bytes)));
  }
  return std::vector<std::string>(static_cast<size_t>(size()), text);
}

void DryCommunicator::DoBarrier() {
  if (links_ != nullptr) links_->Wait(links_->Start(WithEveryPeer(1, 0)));
}

std::unique_ptr<Communicator> DryCommunicator::DoSubgroup(const std::vector<int>& members) {
  const auto self = std::find(members.begin(), members.end(), rank());
  return std::unique_ptr<Communicator>(new DryCommunicator(
      static_cast<int>(self - members.begin()), static_cast<int>(members.size()), links_));
}

}  // namespace annulus::parallel
