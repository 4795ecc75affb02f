#include "parallel/message_operation.h"

#include <algorithm>

#include "parallel/reduce.h"

namespace annulus::parallel {
namespace {

constexpr std::string_view kLend = "return of a loan", kBorrow = "loan";

// Moves a loan that outlives it: it is under way until the block is open, and lasts longer.
class UntilOpen final : public InFlight {
 public:
  explicit UntilOpen(InLoan& loan) : loan_(loan) {}

  bool Advance() override { return loan_.Advance(); }
  Missing Pending() const override { return loan_.Pending(); }

 private:
  InLoan& loan_;
};

}  // namespace

MessageOperation::MessageOperation(MessageCommunicator& owner, std::string_view what)
    : owner_(owner), what_(what) {
  owner_.group_.workbench->active.push_back(this);
}

MessageOperation::~MessageOperation() { std::erase(owner_.group_.workbench->active, this); }

void MessageOperation::Complete(std::chrono::steady_clock::time_point deadline) {
  owner_.Complete(*this, deadline);
}

bool MessageOperation::Advance() {
  while (in_flight_) {
    if (!in_flight_->Advance()) return false;
    in_flight_.reset();
    if (!Next()) break;
  }
  return true;
}

InFlight::Missing MessageOperation::Pending() const {
  return in_flight_ ? in_flight_->Pending() : InFlight::Missing{};
}

void MessageOperation::Post(const Messages& messages) { in_flight_ = owner_.Post(messages, what_); }

LendOperation::LendOperation(MessageCommunicator& owner, const Outgoing& block)
    : MessageOperation(owner, kLend) {
  MessageOperation::Post(owner.PostLoan(block, kLend));
}

BorrowOperation::Opening::Opening(MessageCommunicator& owner, InLoan& loan)
    : MessageOperation(owner, kBorrow) {
  MessageOperation::Post(std::make_unique<UntilOpen>(loan));
}

BorrowOperation::BorrowOperation(MessageCommunicator& owner, const Incoming& block)
    : loan_(owner.PostBorrow(block, kBorrow)), opening_(owner, *loan_) {}

const void* BorrowOperation::Open(std::chrono::steady_clock::time_point deadline) {
  loan_->Accept();
  opening_.Complete(deadline);
  return loan_->address();
}

AllReduceOperation::AllReduceOperation(MessageCommunicator& owner, View data, int tag)
    : MessageOperation(owner, "all-reduce"),
      data_(data.As<float>()),
      elements_(data.size()),
      tag_(tag) {
  constexpr int64_t kLeastWindow = 1024;
  constexpr int64_t kStaging = MessageCommunicator::kStagingBytes / int64_t{sizeof(float)};
  const int64_t peers = owner.size() - 1;
  window_elements_ = std::max(kStaging / peers, kLeastWindow);
  const int64_t largest_share = ShareOf(elements_, 0, owner.size()).size();
  windows_ = (largest_share + window_elements_ - 1) / window_elements_;
  if (owner.staging_.empty()) {
    staging_ =
        std::make_unique_for_overwrite<float[]>(static_cast<size_t>(peers * window_elements_));
  } else {
    staging_ = std::move(owner.staging_.back());
    owner.staging_.pop_back();
  }
  Messages first;
  AddScatter(0, first);
  Post(first);
}

AllReduceOperation::~AllReduceOperation() { owner_.staging_.push_back(std::move(staging_)); }

bool AllReduceOperation::Next() {
  if (step_ == windows_) return false;
  SumWindow(step_);
  Messages messages;
  AddGather(step_, messages);
  ++step_;
  if (step_ < windows_) AddScatter(step_, messages);
  Post(messages);
  return true;
}

Share AllReduceOperation::Part(int rank, int64_t window) const {
  const Share share = ShareOf(elements_, rank, owner_.size());
  const int64_t begin = std::min(share.begin + window * window_elements_, share.end);
  return {begin, std::min(begin + window_elements_, share.end)};
}

float* AllReduceOperation::StagingOf(int rank) const {
  return staging_.get() + (rank < owner_.rank() ? rank : rank - 1) * window_elements_;
}

void AllReduceOperation::AddScatter(int64_t window, Messages& messages) const {
  constexpr int64_t kBytes = sizeof(float);
  const int64_t own = Part(owner_.rank(), window).size();
  for (int peer = 0; peer < owner_.size(); ++peer) {
    if (peer == owner_.rank()) continue;
    const Share theirs = Part(peer, window);
    if (theirs.size() > 0) {
      messages.sends.push_back({data_ + theirs.begin, theirs.size() * kBytes, peer, tag_});
    }
    if (own > 0) messages.receives.push_back({StagingOf(peer), own * kBytes, peer, tag_});
  }
}

void AllReduceOperation::AddGather(int64_t window, Messages& messages) const {
  constexpr int64_t kBytes = sizeof(float);
  const Share own = Part(owner_.rank(), window);
  for (int peer = 0; peer < owner_.size(); ++peer) {
    if (peer == owner_.rank()) continue;
    const Share theirs = Part(peer, window);
    if (own.size() > 0) {
      messages.sends.push_back({data_ + own.begin, own.size() * kBytes, peer, tag_ + 1});
    }
    if (theirs.size() > 0) {
      messages.receives.push_back({data_ + theirs.begin, theirs.size() * kBytes, peer, tag_ + 1});
    }
  }
}

void AllReduceOperation::SumWindow(int64_t window) const {
  const Share own = Part(owner_.rank(), window);
  std::vector<const float*> sources;
  for (int rank = 0; rank < owner_.size(); ++rank) {
    sources.push_back(rank == owner_.rank() ? data_ + own.begin : StagingOf(rank));
  }
  SumInRankOrder(sources, data_ + own.begin, own.size());
}

}  // namespace annulus::parallel
