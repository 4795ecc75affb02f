#include "parallel/communicator.h"

#include <algorithm>
#include <cmath>
#include <exception>

#include "kernels/base/error.h"

namespace annulus::parallel {
namespace {

using Clock = std::chrono::steady_clock;

// A hash of `a` and `b` (Steele et al. 2014, SplitMix64).
uint64_t Mix(uint64_t a, uint64_t b) {
  uint64_t x = (a ^ (b + 0x9e3779b97f4a7c15)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

bool Empty(const ConstView& view) { return view.rank == 0 || view.size() == 0; }

void CheckSide(const ConstView& view, int peer, int size, std::string_view side) {
  Check(view.contiguous(), "an exchange needs a contiguous {} view, not {}", side, view);
  Check(peer >= 0 && peer < size, "an exchange {} rank {} in a group of {}", side, peer, size);
}

}  // namespace

// Adds the time it lives to the exposed communication, and tells the observer.
class Communicator::WaitTimer {
 public:
  WaitTimer(Communicator& owner, std::string_view call)
      : owner_(owner), call_(call), begin_(Clock::now()) {}
  ~WaitTimer() {
    const Span span{begin_, Clock::now()};
    owner_.counters_.wait_ms += span.ms();
    owner_.watch_->counters.wait_ms += span.ms();
    if (Observer* observer = owner_.observer()) observer->OnWait(call_, span);
  }
  WaitTimer(const WaitTimer&) = delete;
  WaitTimer& operator=(const WaitTimer&) = delete;

 private:
  Communicator& owner_;
  std::string_view call_;
  TimePoint begin_;
};

Share ShareOf(int64_t elements, int rank, int size) {
  const int64_t base = elements / size, rest = elements % size;
  const int64_t begin = rank * base + std::min<int64_t>(rank, rest);
  return {begin, begin + base + (rank < rest ? 1 : 0)};
}

Transfer& Transfer::operator=(Transfer&& other) noexcept {
  if (this != &other) {
    Transfer finished(std::move(*this));  // completes at the end of this scope
    owner_ = std::exchange(other.owner_, nullptr);
    operation_ = std::move(other.operation_);
    call_ = other.call_;
    arrival_ = other.arrival_;
  }
  return *this;
}

Transfer::~Transfer() {
  // Waiting for peers, who may be waiting for this rank, would keep the failure from them until the
  // deadline. The operation withdraws what it can.
  if (std::uncaught_exceptions() > 0) return;
  try {
    Wait();
  } catch (...) {
    // The failure that matters is the one being handled; the group learns of it by Abort().
  }
}

void Transfer::Wait() {
  if (!operation_) return;
  const std::unique_ptr<Operation> operation = std::move(operation_);
  owner_->BeforeWait();
  {
    Communicator::WaitTimer timer(*owner_, call_);
    operation->Complete(Clock::now() + owner_->deadline());
  }
  Observer* observer = owner_->observer();
  if (arrival_ && observer != nullptr) observer->OnReceive(*arrival_, Clock::now());
}

int Communicator::WorldRank(int rank) const {
  return world_ranks_.empty() ? rank : world_ranks_[static_cast<size_t>(rank)];
}

void Communicator::Observe(Observer* observer) {
  watch_->observer = observer;
  watch_->counts.clear();
}

Hop Communicator::NextHop(int from, int to, int tag, int64_t bytes) {
  const uint64_t nth = watch_->counts[{group_id_, from, to, tag}]++;
  const auto word = [](int x) { return static_cast<uint64_t>(x); };
  const uint64_t lane = Mix(Mix(group_id_, word(from)), Mix(word(to), word(tag)));
  return {.from = WorldRank(from), .to = WorldRank(to), .bytes = bytes, .id = Mix(lane, nth)};
}

void Communicator::CountSent(int64_t messages, int64_t bytes) {
  if (bytes == 0) return;
  for (CommCounters* counters : {&counters_, &watch_->counters}) {
    counters->messages += messages;
    counters->bytes_sent += bytes;
  }
}

Transfer Communicator::Start(const Exchange& exchange) {
  const bool sends = !Empty(exchange.send), receives = !Empty(exchange.receive);
  if (sends) CheckSide(exchange.send, exchange.to, size_, "sends to");
  if (receives) CheckSide(exchange.receive, exchange.from, size_, "receives from");
  Check(exchange.tag >= 0 && exchange.tag < Exchange::kTags, "tag {} is not in [0, {})",
        exchange.tag, Exchange::kTags);
  if (!sends && !receives) return {};
  if (sends && exchange.to != rank_) CountSent(1, exchange.send.size_bytes());
  Exchange sides = exchange;
  if (!sends) sides.send = ConstView(nullptr, sides.send.dtype, {0});
  if (!receives) sides.receive = View(nullptr, sides.receive.dtype, {0});
  std::optional<Hop> arrival;
  if (Observer* watcher = observer()) {
    const int tag = exchange.tag;
    if (sends) {
      watcher->OnSend(NextHop(rank_, exchange.to, tag, sides.send.size_bytes()), Clock::now());
    }
    if (receives) arrival = NextHop(exchange.from, rank_, tag, sides.receive.size_bytes());
  }
  return Transfer(this, DoExchange(sides), "exchange", arrival);
}

Transfer Communicator::AllGather(ConstView send, View receive) {
  Check(send.contiguous() && receive.contiguous() && send.dtype == receive.dtype &&
            receive.size() == size_ * send.size(),
        "all-gather of {} into {} over {} ranks", send, receive, size_);
  if (Empty(send)) return {};
  CountSent(size_ - 1, (size_ - 1) * send.size_bytes());
  return Transfer(this, DoAllGather(send, receive), "all-gather");
}

Transfer Communicator::AllToAll(ConstView send, View receive) {
  Check(send.contiguous() && receive.contiguous() && send.dtype == receive.dtype &&
            receive.size() == send.size() && send.size() % size_ == 0,
        "all-to-all of {} into {} over {} ranks", send, receive, size_);
  if (Empty(send)) return {};
  CountSent(size_ - 1, send.size_bytes() / size_ * (size_ - 1));
  return Transfer(this, DoAllToAll(send, receive), "all-to-all");
}

Transfer Communicator::AllReduceSum(View data) {
  Check(data.contiguous() && data.dtype == kernels::DType::kF32,
        "all-reduce needs contiguous f32, not {}", data);
  if (Empty(data) || size_ == 1) return {};
  // To every other rank its share to reduce, then to every other rank the reduced own share.
  const int64_t own = ShareOf(data.size(), rank_, size_).size();
  CountSent(2 * (size_ - 1), (data.size() - own + (size_ - 1) * own) * SizeOf(data.dtype));
  return Transfer(this, DoAllReduceSum(data), "all-reduce");
}

Transfer Communicator::Broadcast(View data, int root) {
  Check(data.contiguous(), "broadcast of the strided {}", data);
  Check(root >= 0 && root < size_, "broadcast from rank {} in a group of {}", root, size_);
  if (Empty(data) || size_ == 1) return {};
  if (root == rank_) CountSent(size_ - 1, (size_ - 1) * data.size_bytes());
  return Transfer(this, DoBroadcast(data, root), "broadcast");
}

void Communicator::ShareMemory(const std::vector<int>& nodes) {
  Check(nodes.empty() || std::ssize(nodes) == size_, "the nodes of {} ranks in a group of {}",
        nodes.size(), size_);
  watch_->memory_nodes.clear();
  for (size_t rank = 0; rank < nodes.size(); ++rank) {
    watch_->memory_nodes.emplace(WorldRank(static_cast<int>(rank)), nodes[rank]);
  }
}

std::vector<int> Communicator::MemoryNodes() const {
  std::vector<int> nodes;
  for (int rank = 0; rank < size_ && !watch_->memory_nodes.empty(); ++rank) {
    const auto node = watch_->memory_nodes.find(WorldRank(rank));
    nodes.push_back(node == watch_->memory_nodes.end() ? -1 - rank : node->second);
  }
  std::vector<int> distinct = nodes;
  std::sort(distinct.begin(), distinct.end());
  if (std::adjacent_find(distinct.begin(), distinct.end()) == distinct.end()) return {};
  return nodes;
}

bool Communicator::SharesMemory(int rank, int other) const {
  const std::map<int, int>& nodes = watch_->memory_nodes;
  const auto one = nodes.find(WorldRank(rank)), two = nodes.find(WorldRank(other));
  return one != nodes.end() && two != nodes.end() && one->second == two->second;
}

std::unique_ptr<SharedRegion> Communicator::ReserveShared(int64_t bytes) {
  if (MemoryNodes().empty()) return nullptr;
  return DoReserveShared(bytes);
}

void Communicator::CheckLoan(const ConstView& block, int peer, int tag) const {
  Check(block.contiguous() && !Empty(block), "a loan of {}", block);
  Check(peer >= 0 && peer < size_ && peer != rank_ && SharesMemory(rank_, peer),
        "a loan between ranks {} and {}, which share no memory", rank_, peer);
  Check(tag >= 0 && tag < Exchange::kTags, "tag {} is not in [0, {})", tag, Exchange::kTags);
}

// A loan is an arrow without bytes, in lanes of its own.
Transfer Communicator::Lend(ConstView block, int to, int tag) {
  CheckLoan(block, to, tag);
  if (Observer* watcher = observer()) {
    watcher->OnSend(NextHop(rank_, to, Exchange::kTags + tag, 0), Clock::now());
  }
  return Transfer(this, DoLend(block, to, tag), "return of a loan");
}

Loan Communicator::Borrow(const ConstView& like, int from, int tag) {
  CheckLoan(like, from, tag);
  std::optional<Hop> arrival;
  if (observer() != nullptr) arrival = NextHop(from, rank_, Exchange::kTags + tag, 0);
  return Loan(this, DoBorrow(like, from, tag), like, arrival);
}

const void* Communicator::OpenLoan(Loan::Operation& loan) {
  WaitTimer timer(*this, "loan");
  return loan.Open(Clock::now() + deadline());
}

std::vector<double> Communicator::AllGather(std::span<const double> values) {
  const std::string own(reinterpret_cast<const char*>(values.data()), values.size_bytes());
  const std::vector<std::string> texts = AllGatherText(own);
  std::vector<double> all(values.size() * texts.size());
  char* out = reinterpret_cast<char*>(all.data());
  for (const std::string& text : texts) {
    Check(text.size() == own.size(), "ranks give {} and {} bytes together", own.size(),
          text.size());
    out = std::copy(text.begin(), text.end(), out);
  }
  return all;
}

void Communicator::AllReduceSum(std::span<double> values) {
  const std::vector<double> all = AllGather(values);
  std::fill(values.begin(), values.end(), 0.0);
  for (size_t i = 0; i < all.size(); ++i) values[i % values.size()] += all[i];
}

void Communicator::AllReduceMax(std::span<double> values) {
  const std::vector<double> all = AllGather(values);
  for (size_t i = 0; i < all.size(); ++i) {
    double& value = values[i % values.size()];
    if (i < values.size() || all[i] > value || std::isnan(all[i])) value = all[i];
  }
}

std::string Communicator::BroadcastText(const std::string& text, int root) {
  Check(root >= 0 && root < size_, "broadcast from rank {} in a group of {}", root, size_);
  return std::move(AllGatherText(text)[static_cast<size_t>(root)]);
}

std::vector<std::string> Communicator::AllGatherText(const std::string& text) {
  WaitTimer timer(*this, "host gather");
  return DoAllGatherText(text);
}

std::unique_ptr<Communicator> Communicator::Split(int colour) {
  const double own[] = {static_cast<double>(colour)};
  const std::vector<double> colours = AllGather(own);
  std::vector<int> members;
  for (int rank = 0; rank < size_; ++rank) {
    if (colours[static_cast<size_t>(rank)] == own[0]) members.push_back(rank);
  }
  return Subgroup(members);
}

std::unique_ptr<Communicator> Communicator::Subgroup(const std::vector<int>& members) {
  Check(std::is_sorted(members.begin(), members.end()) &&
            std::binary_search(members.begin(), members.end(), rank_) && members.front() >= 0 &&
            members.back() < size_,
        "rank {} of {} is not in its subgroup, or the subgroup is not ascending", rank_, size_);
  std::unique_ptr<Communicator> group = DoSubgroup(members);
  group->watch_ = watch_;
  group->group_id_ = Mix(group_id_, 1);
  for (const int member : members) {
    group->world_ranks_.push_back(WorldRank(member));
    group->group_id_ = Mix(group->group_id_, static_cast<uint64_t>(member));
  }
  return group;
}

void Communicator::Barrier() {
  WaitTimer timer(*this, "barrier");
  DoBarrier();
}

}  // namespace annulus::parallel
