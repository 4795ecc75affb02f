#include "parallel/local_communicator.h"

#include <condition_variable>
#include <cstring>
#include <deque>
#include <exception>
#include <map>
#include <mutex>
#include <thread>
#include <tuple>

#include "kernels/base/error.h"
#include "parallel/message_communicator.h"

namespace annulus::parallel {
namespace {

using Clock = std::chrono::steady_clock;

// A message that its sender has posted and its receiver copies, or borrows.
struct Parcel {
  enum class State { kOffered, kTaken, kDelivered };
  const void* data;
  int64_t bytes;
  int sender;  // world rank, woken on delivery
  State state = State::kOffered;
};

// Group, sender and receiver (ranks of the group), tag.
using Address = std::tuple<int, int, int, int>;

// Where a rank sleeps. Each event wakes it once, also when it came just before the rank lay down.
struct Port {
  std::condition_variable wake;
  int64_t events = 0;
  int64_t seen = 0;
};

}  // namespace

struct LocalWorld {
  LocalWorld(int ranks, Clock::duration wait) : ports(static_cast<size_t>(ranks)), deadline(wait) {}

  // With `mutex` held.
  Port& port(int world_rank) { return ports[static_cast<size_t>(world_rank)]; }
  void Wake(int world_rank) {
    ++port(world_rank).events;
    port(world_rank).wake.notify_one();
  }
  void ThrowIfAborted() const {
    if (aborted_by >= 0) throw SystemError(abort_reason);
  }

  std::mutex mutex;
  std::map<Address, Parcel*> mailbox;                     // what is offered
  std::map<std::tuple<int, int, int>, int> subgroup_ids;  // by group, which split, first member
  std::deque<Port> ports;                                 // by world rank
  int aborted_by = -1;
  std::string abort_reason;
  const Clock::duration deadline;
};

namespace {

class LocalInFlight final : public InFlight {
 public:
  struct Route {
    LocalWorld& world;
    int group;
    int rank;
    const std::vector<int>& world_ranks;
  };

  LocalInFlight(const Route& route, const Messages& messages, std::string_view what)
      : route_(route), what_(what) {
    for (const Outgoing& send : messages.sends) {
      sends_.push_back({Parcel{send.data, send.bytes, WorldRank(route.rank)}, send.to, send.tag});
    }
    for (const Incoming& receive : messages.receives) receives_.push_back({receive});
  }

  ~LocalInFlight() override {
    std::unique_lock lock(route_.world.mutex);
    for (Send& send : sends_) {
      if (send.parcel.state == Parcel::State::kOffered) {
        const auto offered = route_.world.mailbox.find(To(send));
        if (offered != route_.world.mailbox.end() && offered->second == &send.parcel) {
          route_.world.mailbox.erase(offered);
        }
      }
      // The receiver is copying or reading: the buffer has to live until it is done.
      Port& port = route_.world.port(send.parcel.sender);
      port.wake.wait(lock, [&] { return send.parcel.state != Parcel::State::kTaken; });
    }
  }

  // Offers what is to be sent. The parcels' addresses are fixed from here on.
  void Offer() {
    const std::lock_guard lock(route_.world.mutex);
    route_.world.ThrowIfAborted();
    for (Send& send : sends_) {
      const bool fresh = route_.world.mailbox.emplace(To(send), &send.parcel).second;
      Check(fresh, "{}: two messages to rank {} bear tag {} at once", what_, send.to, send.tag);
      route_.world.Wake(WorldRank(send.to));
    }
  }

  bool Advance() override {
    std::unique_lock lock(route_.world.mutex);
    route_.world.ThrowIfAborted();
    bool done = true;
    for (Receive& receive : receives_) {
      if (!receive.done) receive.done = Take(receive.message, lock);
      done = done && receive.done;
    }
    for (Send& send : sends_) {
      send.delivered = send.parcel.state == Parcel::State::kDelivered;
      done = done && send.delivered;
    }
    return done;
  }

  Missing Pending() const override {
    Missing missing;
    for (const Receive& receive : receives_) {
      if (!receive.done) missing.senders.push_back(receive.message.from);
    }
    for (const Send& send : sends_) {
      if (!send.delivered) missing.receivers.push_back(send.to);
    }
    return missing;
  }

 private:
  struct Send {
    Parcel parcel;
    int to;
    int tag;
    bool delivered = false;  // as the last Advance() saw it
  };
  struct Receive {
    Incoming message;
    bool done = false;
  };

  int WorldRank(int rank) const { return route_.world_ranks[static_cast<size_t>(rank)]; }
  Address To(const Send& send) const { return {route_.group, route_.rank, send.to, send.tag}; }

  // Copies the message if it is there, with the lock released meanwhile.
  bool Take(const Incoming& message, std::unique_lock<std::mutex>& lock) {
    const Address from{route_.group, message.from, route_.rank, message.tag};
    const auto offered = route_.world.mailbox.find(from);
    if (offered == route_.world.mailbox.end()) return false;
    Parcel& parcel = *offered->second;
    Check(parcel.bytes == message.bytes, "{}: rank {} sends {} bytes where rank {} receives {}",
          what_, message.from, parcel.bytes, route_.rank, message.bytes);
    route_.world.mailbox.erase(offered);
    parcel.state = Parcel::State::kTaken;
    lock.unlock();
    if (message.bytes > 0) {
      std::memcpy(message.data, parcel.data, static_cast<size_t>(message.bytes));
    }
    lock.lock();
    parcel.state = Parcel::State::kDelivered;
    route_.world.Wake(parcel.sender);
    return true;
  }

  const Route route_;
  const std::string_view what_;
  std::vector<Send> sends_;
  std::vector<Receive> receives_;
};

// A loan is a parcel that its receiver keeps for a while instead of copying it.
class LocalLoan final : public InLoan {
 public:
  LocalLoan(const LocalInFlight::Route& route, const Incoming& block, std::string_view what)
      : route_(route), block_(block), what_(what) {}
  ~LocalLoan() override { Return(); }

  void Accept() override { accepted_ = true; }

  // Not before it is accepted: a lender that fails takes back what nobody reads, and waits for what
  // is read, so a borrower must not hold a block while it waits for anything else.
  bool Advance() override {
    const std::lock_guard lock(route_.world.mutex);
    route_.world.ThrowIfAborted();
    if (address_ != nullptr) return true;
    const auto offered =
        accepted_ ? route_.world.mailbox.find({route_.group, block_.from, route_.rank, block_.tag})
                  : route_.world.mailbox.end();
    if (offered == route_.world.mailbox.end()) return false;
    parcel_ = offered->second;
    Check(parcel_->bytes == block_.bytes, "{}: rank {} lends {} bytes where rank {} expects {}",
          what_, block_.from, parcel_->bytes, route_.rank, block_.bytes);
    route_.world.mailbox.erase(offered);
    parcel_->state = Parcel::State::kTaken;
    address_ = parcel_->data;
    return true;
  }

  Missing Pending() const override { return {.senders = {block_.from}, .receivers = {}}; }
  const void* address() const override { return address_; }

  void Return() override {
    if (address_ == nullptr) return;
    const std::lock_guard lock(route_.world.mutex);
    parcel_->state = Parcel::State::kDelivered;
    route_.world.Wake(parcel_->sender);
    address_ = nullptr;
  }

 private:
  const LocalInFlight::Route route_;
  const Incoming block_;
  const std::string_view what_;
  bool accepted_ = false;
  Parcel* parcel_ = nullptr;
  const void* address_ = nullptr;  // of the open block
};

class LocalCommunicator final : public MessageCommunicator {
 public:
  LocalCommunicator(std::shared_ptr<LocalWorld> world, int id, Group group)
      : MessageCommunicator(std::move(group)), world_(std::move(world)), id_(id) {}

  std::string Name() const override { return "threads"; }

  std::vector<int> FindMemoryNodes() override {
    return std::vector<int>(static_cast<size_t>(size()), 0);
  }

 protected:
  std::unique_ptr<InFlight> Post(const Messages& messages, std::string_view what) override {
    auto in_flight = std::make_unique<LocalInFlight>(RouteOfThis(), messages, what);
    in_flight->Offer();
    return in_flight;
  }

  std::unique_ptr<InFlight> PostLoan(const Outgoing& block, std::string_view what) override {
    return Post({.sends = {block}, .receives = {}}, what);
  }

  std::unique_ptr<InLoan> PostBorrow(const Incoming& block, std::string_view what) override {
    return std::make_unique<LocalLoan>(RouteOfThis(), block, what);
  }

  void Pause(Clock::time_point, Clock::time_point deadline) override {
    std::unique_lock lock(world_->mutex);
    Port& port = world_->port(WorldRank(rank()));
    port.wake.wait_until(lock, deadline,
                         [&] { return port.events != port.seen || world_->aborted_by >= 0; });
    port.seen = port.events;
  }

  std::unique_ptr<Communicator> DoSubgroup(const std::vector<int>& members) override {
    const int split = splits_++;
    const std::lock_guard lock(world_->mutex);
    const int next = static_cast<int>(world_->subgroup_ids.size()) + 1;
    const int id =
        world_->subgroup_ids.emplace(std::tuple(id_, split, members.front()), next).first->second;
    return std::make_unique<LocalCommunicator>(world_, id, GroupOf(members));
  }

  void DoAbort(const std::string& why, int) noexcept override {
    const std::lock_guard lock(world_->mutex);
    if (world_->aborted_by >= 0) return;
    world_->abort_reason = fmt::format("rank {} failed: {}", WorldRank(rank()), why);
    world_->aborted_by = WorldRank(rank());
    for (Port& port : world_->ports) port.wake.notify_all();
  }

 private:
  LocalInFlight::Route RouteOfThis() const { return {*world_, id_, rank(), group().world_ranks}; }

  const std::shared_ptr<LocalWorld> world_;
  const int id_;  // 0: the world
  int splits_ = 0;
};

// Runs `body` as one rank of `group`; an exception aborts the group and is returned.
std::exception_ptr RunRank(LocalGroup& group, int rank,
                           const std::function<void(Communicator&)>& body) {
  const std::unique_ptr<Communicator> communicator = group.Join(rank);
  try {
    body(*communicator);
    return nullptr;
  } catch (const std::exception& error) {
    communicator->Abort(error.what());
    return std::current_exception();
  } catch (...) {
    communicator->Abort("unknown exception");
    return std::current_exception();
  }
}

}  // namespace

LocalGroup::LocalGroup(int ranks, Clock::duration deadline)
    : world_(std::make_shared<LocalWorld>(ranks, deadline)) {
  Check(ranks >= 1, "a group of {} ranks", ranks);
}

LocalGroup::~LocalGroup() = default;

std::unique_ptr<Communicator> LocalGroup::Join(int rank) {
  const int ranks = static_cast<int>(world_->ports.size());
  Check(rank >= 0 && rank < ranks, "rank {} joins a group of {}", rank, ranks);
  MessageCommunicator::Group group{rank, {}, world_->deadline, std::make_shared<Workbench>()};
  for (int member = 0; member < ranks; ++member) group.world_ranks.push_back(member);
  return std::make_unique<LocalCommunicator>(world_, 0, std::move(group));
}

int LocalGroup::aborted_by() const {
  const std::lock_guard lock(world_->mutex);
  return world_->aborted_by;
}

void RunRanks(int ranks, const std::function<void(Communicator&)>& body, Clock::duration deadline) {
  LocalGroup group(ranks, deadline);
  std::vector<std::exception_ptr> errors(static_cast<size_t>(ranks));
  std::vector<std::jthread> threads;
  for (int rank = 0; rank < ranks; ++rank) {
    threads.emplace_back(
        [&, rank] { errors[static_cast<size_t>(rank)] = RunRank(group, rank, body); });
  }
  for (std::jthread& thread : threads) thread.join();
  // Whoever aborted first began it, if only by way of an Abort() in its body.
  const int culprit = group.aborted_by();
  if (culprit >= 0 && errors[static_cast<size_t>(culprit)]) {
    std::rethrow_exception(errors[static_cast<size_t>(culprit)]);
  }
  for (const std::exception_ptr& error : errors) {
    if (error) std::rethrow_exception(error);
  }
}

}  // namespace annulus::parallel
