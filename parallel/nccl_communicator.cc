#include "parallel/nccl_communicator.h"

#include <algorithm>
#include <array>
#include <exception>
#include <functional>
#include <map>
#include <tuple>

#include "kernels/base/error.h"
#include "kernels/cuda/cuda_table.h"
#include "parallel/nccl_rank.h"

namespace annulus::parallel {
namespace {

using Flight = std::shared_ptr<NcclFlight>;

char* At(const View& view, int64_t byte) { return static_cast<char*>(view.data) + byte; }
const char* At(const ConstView& view, int64_t byte) {
  return static_cast<const char*>(view.data) + byte;
}

// One side of an exchange with another rank.
struct Message {
  int peer;
  int tag;
  const void* send;  // null: receives
  void* receive;
  int64_t bytes;
};

class NcclCommunicator final : public Communicator {
 public:
  NcclCommunicator(Communicator& host, std::shared_ptr<NcclRank> under_way,
                   std::shared_ptr<NcclComm> comm)
      : Communicator(host.rank(), host.size()),
        host_(host),
        under_way_(std::move(under_way)),
        comm_(std::move(comm)) {}
  NcclCommunicator(std::unique_ptr<Communicator> host, std::shared_ptr<NcclRank> under_way,
                   std::shared_ptr<NcclComm> comm)
      : NcclCommunicator(*host, std::move(under_way), std::move(comm)) {
    owned_ = std::move(host);
  }
  ~NcclCommunicator() override {
    under_way_->Forget(this);
    if (std::uncaught_exceptions() > 0) return;
    try {
      under_way_->Drain();
    } catch (...) {
      // What was under way is abandoned, and whoever begins something after it is told.
    }
  }

  std::string Name() const override {
    return fmt::format("NCCL {}, host operations over {}", NcclVersion(), host_.Name());
  }

  void Progress() override { under_way_->Poll(); }

 protected:
  std::unique_ptr<Operation> DoExchange(const Exchange& exchange) override;
  std::unique_ptr<Operation> DoAllGather(ConstView send, View receive) override;
  std::unique_ptr<Operation> DoAllToAll(ConstView send, View receive) override;
  std::unique_ptr<Operation> DoAllReduceSum(View data) override;
  std::unique_ptr<Operation> DoBroadcast(View data, int root) override;

  void BeginBatch() override { batch_.emplace(NewFlight("exchange")); }
  void LaunchBatch() override;
  void DropBatch() noexcept override { batch_.reset(); }

  std::vector<std::string> DoAllGatherText(const std::string& text) override {
    under_way_->CheckAlive("host gather");
    return host_.AllGatherText(text);
  }
  void DoBarrier() override {
    under_way_->CheckAlive("barrier");
    host_.Barrier();
  }
  // A group of all ranks is carried by the same communicator of NCCL.
  std::unique_ptr<Communicator> DoSubgroup(const std::vector<int>& members) override {
    std::unique_ptr<Communicator> host = host_.Subgroup(members);
    std::shared_ptr<NcclComm> comm = host->size() == size() ? comm_ : nullptr;
    if (!comm) comm = under_way_->Join(*host);
    return std::make_unique<NcclCommunicator>(std::move(host), under_way_, std::move(comm));
  }
  void DoAbort(const std::string& why, int exit_status) noexcept override {
    under_way_->Abandon(why);
    host_.Abort(why, exit_status);
  }
  std::chrono::steady_clock::duration deadline() const override { return under_way_->deadline(); }
  void CountDeviceWaits() const override { under_way_->CountWaits(); }

 private:
  class FlightOperation;
  struct Batch {
    explicit Batch(Flight f) : flight(std::move(f)) {}
    Flight flight;
    std::vector<Message> messages;
  };
  // One side of a message of this rank to itself, until the other is there.
  struct OwnSide {
    ConstView send;
    View receive;
    Flight flight;
  };

  Flight NewFlight(std::string_view call) const { return std::make_shared<NcclFlight>(call); }
  std::unique_ptr<Operation> UnderWay(Flight flight);
  // A collective, with all other ranks.
  std::unique_ptr<Operation> Collective(std::string_view call, const std::function<void()>& issue);
  Flight StartMessages(const std::vector<Message>& messages);
  void Issue(const Flight& flight, std::vector<Message> messages);
  Flight StartOwn(const Exchange& exchange);
  void CopyOwn(const void* from, void* to, int64_t bytes) const;

  Communicator& host_;
  std::unique_ptr<Communicator> owned_;  // host_ of a subgroup
  std::shared_ptr<NcclRank> under_way_;
  std::shared_ptr<NcclComm> comm_;
  std::optional<Batch> batch_;
  std::map<int, OwnSide> own_;  // by tag
};

// Given up before it was waited for, its buffers may go: nothing may move any more.
class NcclCommunicator::FlightOperation final : public Operation {
 public:
  FlightOperation(NcclCommunicator& owner, std::array<Flight, 2> flights)
      : owner_(owner), under_way_(owner.under_way_), flights_(std::move(flights)) {}
  ~FlightOperation() override {
    if (!awaited_) under_way_->Abandon("an operation was given up");
  }

  void Complete(std::chrono::steady_clock::time_point) override {
    for (const Flight& flight : flights_) {
      if (!flight) continue;
      under_way_->HoldUp(*flight, &owner_, [&owner = owner_](double ms) { owner.CountWait(ms); });
    }
    awaited_ = true;
  }

 private:
  NcclCommunicator& owner_;
  const std::shared_ptr<NcclRank> under_way_;
  const std::array<Flight, 2> flights_;
  bool awaited_ = false;
};

std::unique_ptr<Communicator::Operation> NcclCommunicator::UnderWay(Flight flight) {
  return std::make_unique<FlightOperation>(*this,
                                           std::array<Flight, 2>{std::move(flight), nullptr});
}

std::unique_ptr<Communicator::Operation> NcclCommunicator::DoExchange(const Exchange& exchange) {
  std::vector<Message> messages;
  Exchange own{.tag = exchange.tag};
  if (exchange.send.size() > 0) {
    if (exchange.to == rank()) {
      own.send = exchange.send;
    } else {
      messages.push_back(
          {exchange.to, exchange.tag, exchange.send.data, nullptr, exchange.send.size_bytes()});
    }
  }
  if (exchange.receive.size() > 0) {
    if (exchange.from == rank()) {
      own.receive = exchange.receive;
    } else {
      messages.push_back({exchange.from, exchange.tag, nullptr, exchange.receive.data,
                          exchange.receive.size_bytes()});
    }
  }
  std::array<Flight, 2> flights;
  if (own.send.rank > 0 || own.receive.rank > 0) flights[0] = StartOwn(own);
  if (!messages.empty()) flights[1] = StartMessages(messages);
  return std::make_unique<FlightOperation>(*this, std::move(flights));
}

Flight NcclCommunicator::StartMessages(const std::vector<Message>& messages) {
  if (batch_) {
    batch_->messages.insert(batch_->messages.end(), messages.begin(), messages.end());
    return batch_->flight;
  }
  Flight flight = NewFlight("exchange");
  Issue(flight, messages);
  return flight;
}

void NcclCommunicator::LaunchBatch() {
  Batch batch = std::move(*batch_);
  batch_.reset();
  if (!batch.messages.empty()) Issue(batch.flight, std::move(batch.messages));
}

// NCCL knows no tags: of the messages between two ranks the first that is sent is the first that is
// received. Within a batch that is the one of the least tag.
void NcclCommunicator::Issue(const Flight& flight, std::vector<Message> messages) {
  std::stable_sort(messages.begin(), messages.end(), [](const Message& a, const Message& b) {
    return std::tie(a.peer, a.tag) < std::tie(b.peer, b.tag);
  });
  for (const Message& message : messages) flight->AddPeer(WorldRank(message.peer));
  under_way_->Launch(flight, [&] {
    comm_->Group([&] {
      for (const Message& m : messages) {
        if (m.send != nullptr) {
          comm_->Send(m.send, m.bytes, m.peer, under_way_->stream());
        } else {
          comm_->Receive(m.receive, m.bytes, m.peer, under_way_->stream());
        }
      }
    });
  });
}

// A copy, begun when both sides are there.
Flight NcclCommunicator::StartOwn(const Exchange& exchange) {
  auto [place, fresh] = own_.try_emplace(exchange.tag);
  OwnSide& side = place->second;
  if (fresh) side.flight = NewFlight("exchange with itself");
  const auto take = [&](auto& mine, const auto& given) {
    if (given.rank == 0) return;
    Check(mine.rank == 0, "rank {}: two messages to itself bear tag {} at once", rank(),
          exchange.tag);
    mine = given;
  };
  take(side.send, exchange.send);
  take(side.receive, exchange.receive);
  const Flight flight = side.flight;
  if (side.send.rank == 0 || side.receive.rank == 0) return flight;
  const OwnSide both = side;
  own_.erase(place);
  Check(both.send.size_bytes() == both.receive.size_bytes(), "rank {} sends {} to itself as {}",
        rank(), both.send, both.receive);
  under_way_->Launch(flight,
                     [&] { CopyOwn(both.send.data, both.receive.data, both.send.size_bytes()); });
  return flight;
}

void NcclCommunicator::CopyOwn(const void* from, void* to, int64_t bytes) const {
  if (from == to) return;
  kernels::cuda::CheckCuda(cudaMemcpyAsync(to, from, static_cast<size_t>(bytes),
                                           cudaMemcpyDeviceToDevice, under_way_->stream()),
                           "cudaMemcpyAsync of an own block");
}

std::unique_ptr<Communicator::Operation> NcclCommunicator::Collective(
    std::string_view call, const std::function<void()>& issue) {
  Check(!batch_, "a collective within a batch of messages");
  Flight flight = NewFlight(call);
  for (int peer = 0; peer < size(); ++peer) {
    if (peer != rank()) flight->AddPeer(WorldRank(peer));
  }
  under_way_->Launch(flight, issue);
  return UnderWay(std::move(flight));
}

std::unique_ptr<Communicator::Operation> NcclCommunicator::DoAllGather(ConstView send,
                                                                       View receive) {
  return Collective("all-gather", [&] {
    comm_->AllGather(send.data, receive.data, send.size_bytes(), under_way_->stream());
  });
}

std::unique_ptr<Communicator::Operation> NcclCommunicator::DoAllToAll(ConstView send,
                                                                      View receive) {
  const int64_t bytes = send.size_bytes() / size();
  return Collective("all-to-all", [&] {
    CopyOwn(At(send, rank() * bytes), At(receive, rank() * bytes), bytes);
    if (size() == 1) return;
    comm_->Group([&] {
      for (int peer = 0; peer < size(); ++peer) {
        if (peer == rank()) continue;
        comm_->Send(At(send, peer * bytes), bytes, peer, under_way_->stream());
        comm_->Receive(At(receive, peer * bytes), bytes, peer, under_way_->stream());
      }
    });
  });
}

std::unique_ptr<Communicator::Operation> NcclCommunicator::DoAllReduceSum(View data) {
  return Collective("all-reduce", [&] {
    EnqueueAllReduce(*comm_, data.As<float>(), data.size(), under_way_->staging(),
                     under_way_->stream());
  });
}

std::unique_ptr<Communicator::Operation> NcclCommunicator::DoBroadcast(View data, int root) {
  return Collective("broadcast", [&] {
    comm_->Broadcast(data.data, data.size_bytes(), root, under_way_->stream());
  });
}

}  // namespace

std::string NcclVersion() {
  int version = 0;
  if (ncclGetVersion(&version) != ncclSuccess) return "of unknown version";
  return fmt::format("{}.{}.{}", version / 10000, version / 100 % 100, version % 100);
}

// NCCL would refuse it, too, in words of its own.
std::string NcclProblem(Communicator& host) {
  std::map<std::string, int> first;
  const std::vector<std::string> devices = host.AllGatherText(kernels::CudaDevicePlace());
  for (int rank = 0; rank < host.size(); ++rank) {
    const auto [other, fresh] = first.emplace(devices[static_cast<size_t>(rank)], rank);
    if (fresh) continue;
    return fmt::format("NCCL needs a GPU for every rank, and ranks {} and {} share one ({})",
                       other->second, rank, other->first);
  }
  return {};
}

std::unique_ptr<Communicator> CreateNcclWorld(Communicator& host, const NcclOptions& options) {
  const std::string problem = NcclProblem(host);
  if (!problem.empty()) {
    ThrowConfigError("{}: start fewer ranks on the node, or let messages go through the host: {}",
                     problem, "--parallel.transport mpi");
  }
  auto under_way = std::make_shared<NcclRank>(host, options);
  std::shared_ptr<NcclComm> comm = under_way->Join(host);
  return std::make_unique<NcclCommunicator>(host, std::move(under_way), std::move(comm));
}

}  // namespace annulus::parallel
