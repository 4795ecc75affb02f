// A group of ranks on one axis of the process grid, and the exchanges between them.
//
// Implementations: ranks as threads (local_communicator.h), MPI (mpi_communicator.h), and one that
// only counts (dry_communicator.h). The base class counts bytes and waiting time once for all, so
// that a dry run predicts what a real run measures.
#pragma once

#include <chrono>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernels/base/view.h"
#include "parallel/loan.h"
#include "parallel/observer.h"
#include "parallel/shared_region.h"

namespace annulus::parallel {

using kernels::ConstView;
using kernels::View;

// What went over the wire from this rank, and how long its host stood waiting. With P = size(),
// r = rank() and n the bytes of `send` or `data`:
//
//   operation         bytes_sent                       messages
//   Start             n (0 to itself)                  1 (0 to itself)
//   AllGather         (P-1) n                          P-1
//   AllToAll          (P-1)/P n                        P-1
//   AllReduceSum      n + (P-2) share(r), 0 at P = 1   2 (P-1)   with equal shares: 2 (P-1)/P n
//   Broadcast         (P-1) n from the root, else 0    P-1 or 0
//
// An operation on nothing counts nothing, nor does a block that is lent. They are the algorithm's
// bytes, whatever pieces a transport cuts them into. Host-side operations (doubles, texts,
// barriers) count no bytes, for they carry no tensors; the time that any operation blocks its host
// counts as waiting.
struct CommCounters {
  int64_t messages = 0;
  int64_t bytes_sent = 0;
  double wait_ms = 0;  // exposed communication
};

// The elements of `elements` that rank `rank` of `size` reduces in AllReduceSum: [begin, end).
struct Share {
  int64_t begin;
  int64_t end;
  int64_t size() const { return end - begin; }
};
Share ShareOf(int64_t elements, int rank, int size);

// How long a blocking wait lasts before the peers it waits for are given up.
inline constexpr std::chrono::steady_clock::duration kDefaultDeadline = std::chrono::minutes(5);

// One point-to-point exchange of this rank: `send` leaves for `to` while `receive` comes in from
// `from`. Both are contiguous; an empty view (size 0, or of no dims) skips its side. Two exchanges
// between the same pair that are in flight together bear different tags; both sides name the same
// tag, 0 <= tag < kTags. A rank may exchange with itself.
struct Exchange {
  static constexpr int kTags = 1 << 13;

  ConstView send = {};
  int to = 0;
  View receive = {};
  int from = 0;
  int tag = 0;
};

class Communicator;

// An operation under way. Move-only; the destructor completes it, so that no buffer is released
// under a transfer. Buffers must not be touched before Wait() returns, and the communicator must
// outlive the transfer.
class Transfer {
 public:
  // What an implementation keeps of one operation.
  class Operation {
   public:
    virtual ~Operation() = default;
    // Blocks until done or `deadline`; throws SystemError naming rank, call and peer.
    virtual void Complete(std::chrono::steady_clock::time_point deadline) = 0;
  };

  Transfer() = default;
  // `call` names the operation and outlives this; `arrival` is the message it receives, if any.
  Transfer(Communicator* owner, std::unique_ptr<Operation> operation, std::string_view call,
           std::optional<Hop> arrival = std::nullopt)
      : owner_(owner), operation_(std::move(operation)), call_(call), arrival_(arrival) {}
  Transfer(Transfer&& other) noexcept
      : owner_(std::exchange(other.owner_, nullptr)),
        operation_(std::move(other.operation_)),
        call_(other.call_),
        arrival_(other.arrival_) {}
  Transfer& operator=(Transfer&& other) noexcept;
  // Completes silently: an error thrown by a destructor would end the process. While an exception
  // unwinds the stack it gives the operation up instead: the rank has failed and must say so.
  ~Transfer();

  // Completes the operation. Its wait counts as exposed communication. Idempotent. Throws what
  // Complete() throws; the operation is then given up.
  void Wait();

 private:
  Communicator* owner_ = nullptr;
  std::unique_ptr<Operation> operation_;
  std::string_view call_;
  std::optional<Hop> arrival_;
};

// Ranks call the same operations in the same order. Sizes are 64-bit; messages of any size.
// Every blocking wait ends at the group's deadline with a SystemError that names rank, call and
// peer.
class Communicator {
 public:
  Communicator(int rank, int size) : rank_(rank), size_(size) {}
  virtual ~Communicator() = default;
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  int rank() const { return rank_; }
  int size() const { return size_; }
  // The rank in the group that this one was split from, all the way up, of its `rank`.
  int WorldRank(int rank) const;
  const CommCounters& counters() const { return counters_; }
  // Of this group, those split from it and those that it was split from, together.
  const CommCounters& all_counters() const { return watch_->counters; }

  // As in "threads", "MPI (Open MPI 4.1.4)".
  virtual std::string Name() const = 0;

  // Moves on whatever this rank has under way, in this group or another: MPI does so only when it
  // is called. Brief, never blocks. Throws SystemError when the transport or the group failed.
  virtual void Progress() {}

  // Point to point; any number may be in flight.
  Transfer Start(const Exchange& exchange);

  // receive [size, ...] = every rank's `send`, by rank. receive.size() == size() * send.size().
  // `send` may be this rank's own block of `receive`.
  Transfer AllGather(ConstView send, View receive);

  // Block i of `send` goes to rank i, block j of `receive` comes from rank j; equal blocks. No
  // aliasing.
  Transfer AllToAll(ConstView send, View receive);

  // `data` f32 becomes the sum over ranks, the same bits on every rank and in every run. Over
  // threads and MPI: accumulated in f64 in rank order and rounded once (reduce.h).
  Transfer AllReduceSum(View data);

  Transfer Broadcast(View data, int root);

  // By rank of this group: a number for each set of ranks that can read each other's memory, as
  // ranks of one node can. Collective.
  virtual std::vector<int> FindMemoryNodes() = 0;

  // Ranks of this group with equal numbers in `nodes`, none of them negative, by rank, lend each
  // other blocks; empty: none do, as at first. Holds for this group and those split from it or that
  // it was split from, whose other ranks share nothing. Every rank says the same, while nothing is
  // under way, and puts no ranks together that FindMemoryNodes() keeps apart.
  void ShareMemory(const std::vector<int>& nodes);
  // What was said, by rank of this group; empty where no two of its ranks share memory.
  std::vector<int> MemoryNodes() const;
  bool SharesMemory(int rank, int other) const;

  // Memory that the ranks which share memory with this one can read, and the only memory of this
  // rank that can be lent; null where all of it can be, or where there is nobody to share with.
  // At most one at a time. Collective over this group, as is its end. Throws SystemError.
  std::unique_ptr<SharedRegion> ReserveShared(int64_t bytes);

  // What ReserveShared() can have now, for all ranks of this one's node together; infinite where it
  // takes no memory. In kSharedMemoryPlace.
  virtual double SharedRoomBytes() const { return std::numeric_limits<double>::infinity(); }

  // Lets `to` read `block`, contiguous, where it lies; complete when that rank has returned it.
  // Requires that both share memory. Of the loans between two ranks that are under way at once,
  // in either direction, each bears a tag of its own. 0 <= tag < Exchange::kTags.
  Transfer Lend(ConstView block, int to, int tag);
  // The other side: a block of the dtype and dims of `like`. To be opened and returned.
  Loan Borrow(const ConstView& like, int from, int tag);

  // Small host-side reductions and exchanges, blocking. Taken in rank order: the same bits on every
  // rank. A NaN wins.
  void AllReduceSum(std::span<double> values);
  void AllReduceMax(std::span<double> values);
  // Every rank's `values`, by rank; all give equally many.
  std::vector<double> AllGather(std::span<const double> values);
  std::string BroadcastText(const std::string& text, int root);
  std::vector<std::string> AllGatherText(const std::string& text);
  void Barrier();

  // The ranks that give the same colour, ordered by rank. Collective.
  std::unique_ptr<Communicator> Split(int colour);

  // Like Split where every rank knows who belongs with it: `members`, ascending, this rank among
  // them. Collective over this group; members name the same list, and every rank is in one list.
  std::unique_ptr<Communicator> Subgroup(const std::vector<int>& members);

  // Tells `observer` of what this rank does here and in every group split from here, before or
  // after; null: nobody. Collective, while nothing is under way: ids of messages count from here.
  // It must outlive the groups or be replaced.
  void Observe(Observer* observer);
  Observer* observer() const { return watch_->observer; }

  // Tells the peers that this rank failed, so that none of them waits for it, and why. Where ranks
  // are processes this ends all of them, this one too, with `exit_status`.
  void Abort(const std::string& why, int exit_status = 3) noexcept { DoAbort(why, exit_status); }

 protected:
  friend class Transfer;
  friend class Loan;

  using Operation = Transfer::Operation;
  virtual std::unique_ptr<Operation> DoExchange(const Exchange& exchange) = 0;
  virtual std::unique_ptr<Operation> DoAllGather(ConstView send, View receive) = 0;
  virtual std::unique_ptr<Operation> DoAllToAll(ConstView send, View receive) = 0;
  virtual std::unique_ptr<Operation> DoAllReduceSum(View data) = 0;
  virtual std::unique_ptr<Operation> DoBroadcast(View data, int root) = 0;
  virtual std::unique_ptr<Operation> DoLend(ConstView block, int to, int tag) = 0;
  virtual std::unique_ptr<Loan::Operation> DoBorrow(const ConstView& like, int from, int tag) = 0;
  virtual std::unique_ptr<SharedRegion> DoReserveShared(int64_t /*bytes*/) { return nullptr; }
  // Every rank's `text`, by rank; sizes may differ.
  virtual std::vector<std::string> DoAllGatherText(const std::string& text) = 0;
  virtual void DoBarrier() = 0;
  virtual std::unique_ptr<Communicator> DoSubgroup(const std::vector<int>& members) = 0;
  virtual void DoAbort(const std::string& why, int exit_status) noexcept = 0;
  virtual std::chrono::steady_clock::duration deadline() const = 0;
  // Before a transfer's wait is timed: for what is still computed meanwhile, which is no waiting
  // for peers.
  virtual void BeforeWait() {}

 private:
  // Shared with the groups split from this one.
  struct Watch {
    Observer* observer = nullptr;
    // How many messages went each way, so that both ends count them alike: of a group, between two
    // ranks, with a tag.
    struct Lane {
      uint64_t group;
      int from;
      int to;
      int tag;
      auto operator<=>(const Lane&) const = default;
    };
    std::map<Lane, uint64_t> counts;
    CommCounters counters;
    std::map<int, int> memory_nodes;  // by rank of the world; empty: nobody shares memory
  };

  void CountSent(int64_t messages, int64_t bytes);
  void CheckLoan(const ConstView& block, int peer, int tag) const;
  const void* OpenLoan(Loan::Operation& loan);
  // The next message of a lane, of ranks of this group.
  Hop NextHop(int from, int to, int tag, int64_t bytes);
  // Times a wait for `call` on this host.
  class WaitTimer;

  int rank_;
  int size_;
  CommCounters counters_;
  std::shared_ptr<Watch> watch_ = std::make_shared<Watch>();
  std::vector<int> world_ranks_;  // by rank; empty: the same
  uint64_t group_id_ = 0;
};

}  // namespace annulus::parallel
