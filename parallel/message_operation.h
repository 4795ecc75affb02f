// The operations that a MessageCommunicator has under way.
#pragma once

#include "parallel/message_communicator.h"

namespace annulus::parallel {

// One step of messages after the other.
class MessageOperation : public Transfer::Operation {
 public:
  // `what` must outlive the operation.
  MessageOperation(MessageCommunicator& owner, std::string_view what);
  ~MessageOperation() override;

  void Complete(std::chrono::steady_clock::time_point deadline) override;

  // Moves what can be moved; true when the operation is done. Never blocks.
  bool Advance();
  std::string_view what() const { return what_; }
  InFlight::Missing Pending() const;

 protected:
  void Post(const Messages& messages);
  void Post(std::unique_ptr<InFlight> in_flight) { in_flight_ = std::move(in_flight); }
  // The last posted messages are delivered. Posts the next ones, or returns false: done.
  virtual bool Next() { return false; }

  MessageCommunicator& owner_;

 private:
  std::string_view what_;
  std::unique_ptr<InFlight> in_flight_;
};

// An operation of one step.
class OneStep final : public MessageOperation {
 public:
  OneStep(MessageCommunicator& owner, std::string_view what, const Messages& messages)
      : MessageOperation(owner, what) {
    Post(messages);
  }
};

// A block that is lent, until it is returned.
class LendOperation final : public MessageOperation {
 public:
  LendOperation(MessageCommunicator& owner, const Outgoing& block);
};

// A block that is borrowed, on its way until it is open.
class BorrowOperation final : public Loan::Operation {
 public:
  BorrowOperation(MessageCommunicator& owner, const Incoming& block);

  const void* Open(std::chrono::steady_clock::time_point deadline) override;
  void Return() override { loan_->Return(); }

 private:
  // What moves the loan on with all else that the rank has under way.
  class Opening final : public MessageOperation {
   public:
    Opening(MessageCommunicator& owner, InLoan& loan);
  };

  std::unique_ptr<InLoan> loan_;
  Opening opening_;
};

// Reduce-scatter, then all-gather, in windows of the ranks' shares that fit the staging buffer: in
// each step a rank sends its part of the window of every other rank's share, receives theirs of its
// own, and exchanges the sums of the window before. Bytes and messages: communicator.h.
class AllReduceOperation final : public MessageOperation {
 public:
  // `tag` and `tag` + 1 are this operation's.
  AllReduceOperation(MessageCommunicator& owner, View data, int tag);
  ~AllReduceOperation() override;

 private:
  bool Next() override;
  // The part of `rank`'s share that window `window` covers.
  Share Part(int rank, int64_t window) const;
  float* StagingOf(int rank) const;
  void AddScatter(int64_t window, Messages& messages) const;
  void AddGather(int64_t window, Messages& messages) const;
  void SumWindow(int64_t window) const;

  float* data_;
  int64_t elements_;
  int tag_;
  int64_t window_elements_;
  int64_t windows_;
  int64_t step_ = 0;  // of windows_ + 1: scatters window step_, gathers window step_ - 1
  std::unique_ptr<float[]> staging_;
};

}  // namespace annulus::parallel
