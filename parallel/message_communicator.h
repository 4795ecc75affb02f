// Every operation of a Communicator out of point-to-point messages, written once for the transports
// that only move bytes between hosts: threads and MPI.
//
// The collectives are direct: each rank deals with each other rank. They send the least bytes that
// the operation needs, and a wait that fails can name exactly the peers it did not hear from, which
// no collective call of MPI can. The all-reduce is ours for two more reasons: its bits are the same
// on every rank, in every run and over either transport, where MPI only recommends it; and it works
// in place through kStagingBytes, where MPI_Iallreduce was seen to allocate half the message or all
// of it again on some ranks (Open MPI 4.1.4, MPICH 4.0.2).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "parallel/communicator.h"

namespace annulus::parallel {

// Messages bear a tag: user tags below Exchange::kTags, loans as many above, then collectives, and
// all below 2^15, which is the least that MPI promises.
struct Outgoing {
  const void* data;
  int64_t bytes;
  int to;
  int tag;
};
struct Incoming {
  void* data;
  int64_t bytes;
  int from;
  int tag;
};
struct Messages {
  std::vector<Outgoing> sends;
  std::vector<Incoming> receives;
};

// A set of messages under way. Destroyed before its end, it withdraws what has not been delivered.
class InFlight {
 public:
  virtual ~InFlight() = default;
  // Moves what can be moved; true when every message is delivered. Never blocks. Throws SystemError
  // when the transport or the group failed.
  virtual bool Advance() = 0;
  // Ranks whose message had not come, and ranks that had not taken ours, at the last Advance().
  struct Missing {
    std::vector<int> senders;
    std::vector<int> receivers;
  };
  virtual Missing Pending() const = 0;
};

// A block that a peer lends, on its way to its borrower.
class InLoan : public InFlight {
 public:
  // The borrower stands ready: from here on Advance() may open the block, and is true when it is
  // open.
  virtual void Accept() = 0;
  // Of the open block.
  virtual const void* address() const = 0;
  // Tells the lender that the open block has been read.
  virtual void Return() = 0;
};

class MessageOperation;

// What one rank has under way in a group and its subgroups. A rank that blocks in one operation
// moves all the others on too, so the order in which ranks wait does not matter, as under MPI.
struct Workbench {
  std::vector<MessageOperation*> active;
  // A wait has failed: the rest of the waits end at once, so that unwinding does not last one
  // deadline for each.
  bool failed = false;
};

class MessageCommunicator : public Communicator {
 public:
  struct Group {
    int rank;
    std::vector<int> world_ranks;  // by rank; what error messages name
    std::chrono::steady_clock::duration deadline;
    std::shared_ptr<Workbench> workbench;
  };

  // What an all-reduce under way holds to receive into, whatever the size of the message (more only
  // where 4 KiB for every rank is more).
  static constexpr int64_t kStagingBytes = int64_t{1} << 20;

  void Progress() override;

 protected:
  explicit MessageCommunicator(Group group);

  const Group& group() const { return group_; }
  int WorldRank(int rank) const { return group_.world_ranks[static_cast<size_t>(rank)]; }
  // The group that a subgroup is made of.
  Group GroupOf(const std::vector<int>& members) const;

  // Starts moving `messages`; `what` names the operation in errors. Messages of one pair and tag
  // arrive in the order sent.
  virtual std::unique_ptr<InFlight> Post(const Messages& messages, std::string_view what) = 0;
  // Offers a block, or asks for the one that is offered (`data` is null): delivered when it has
  // been returned. A block that is destroyed open, not yet returned, is returned without a wait.
  virtual std::unique_ptr<InFlight> PostLoan(const Outgoing& block, std::string_view what) = 0;
  virtual std::unique_ptr<InLoan> PostBorrow(const Incoming& block, std::string_view what) = 0;
  // Blocks until a message may have moved, but not past `deadline`. `since`: when this wait began.
  virtual void Pause(std::chrono::steady_clock::time_point since,
                     std::chrono::steady_clock::time_point deadline) = 0;
  std::chrono::steady_clock::duration deadline() const override { return group_.deadline; }

  std::unique_ptr<Operation> DoExchange(const Exchange& exchange) override;
  std::unique_ptr<Operation> DoAllGather(ConstView send, View receive) override;
  std::unique_ptr<Operation> DoAllToAll(ConstView send, View receive) override;
  std::unique_ptr<Operation> DoAllReduceSum(View data) override;
  std::unique_ptr<Operation> DoBroadcast(View data, int root) override;
  std::unique_ptr<Operation> DoLend(ConstView block, int to, int tag) override;
  std::unique_ptr<Loan::Operation> DoBorrow(const ConstView& like, int from, int tag) override;
  std::vector<std::string> DoAllGatherText(const std::string& text) override;
  void DoBarrier() override;

 private:
  friend class MessageOperation;
  friend class AllReduceOperation;
  friend class LendOperation;
  friend class BorrowOperation;

  void Complete(MessageOperation& operation, std::chrono::steady_clock::time_point deadline);
  [[noreturn]] void ThrowMissing(const MessageOperation& operation) const;
  // Posts and completes.
  void Deliver(const Messages& messages, std::string_view what);
  // A fresh pair of tags, the same on every rank: ranks start collectives in the same order.
  int NextCollectiveTag();

  Group group_;
  int64_t collectives_ = 0;
  std::vector<std::unique_ptr<float[]>> staging_;  // free ones
};

}  // namespace annulus::parallel
