#include "parallel/message_communicator.h"

#include <fmt/ranges.h>

#include <cstring>

#include "kernels/base/error.h"
#include "parallel/message_operation.h"

namespace annulus::parallel {
namespace {

using Clock = std::chrono::steady_clock;

const char* At(const ConstView& view, int64_t byte) {
  return static_cast<const char*>(view.data) + byte;
}
char* At(const View& view, int64_t byte) { return static_cast<char*>(view.data) + byte; }

std::string RanksOf(const std::vector<int>& ranks) {
  return fmt::format("rank{} {}", ranks.size() == 1 ? "" : "s", fmt::join(ranks, ", "));
}

}  // namespace

MessageCommunicator::MessageCommunicator(Group group)
    : Communicator(group.rank, static_cast<int>(group.world_ranks.size())),
      group_(std::move(group)) {}

MessageCommunicator::Group MessageCommunicator::GroupOf(const std::vector<int>& members) const {
  Group group{0, {}, group_.deadline, group_.workbench};
  for (int member : members) {
    if (member == rank()) group.rank = static_cast<int>(group.world_ranks.size());
    group.world_ranks.push_back(WorldRank(member));
  }
  return group;
}

void MessageCommunicator::Complete(MessageOperation& operation, Clock::time_point deadline) {
  Workbench& workbench = *group_.workbench;
  if (workbench.failed) {
    ThrowSystemError("rank {}: {} given up after an earlier failure", WorldRank(rank()),
                     operation.what());
  }
  const Clock::time_point since = Clock::now();
  try {
    while (!operation.Advance()) {
      for (MessageOperation* other : workbench.active) {
        if (other != &operation) other->Advance();
      }
      if (Clock::now() >= deadline) ThrowMissing(operation);
      Pause(since, deadline);
    }
  } catch (...) {
    workbench.failed = true;
    throw;
  }
}

void MessageCommunicator::Progress() {
  Workbench& workbench = *group_.workbench;
  if (workbench.failed) return;
  try {
    for (MessageOperation* operation : workbench.active) operation->Advance();
  } catch (...) {
    workbench.failed = true;
    throw;
  }
}

void MessageCommunicator::ThrowMissing(const MessageOperation& operation) const {
  InFlight::Missing missing = operation.Pending();
  std::string text;
  for (int& peer : missing.senders) peer = WorldRank(peer);
  for (int& peer : missing.receivers) peer = WorldRank(peer);
  if (!missing.senders.empty()) text += "nothing came from " + RanksOf(missing.senders);
  if (!missing.receivers.empty()) {
    text += (text.empty() ? "" : ", ") + ("nothing was taken by " + RanksOf(missing.receivers));
  }
  ThrowSystemError("rank {}: {} over {}: {} within {:.3g} s", WorldRank(rank()), operation.what(),
                   Name(), text, std::chrono::duration<double>(group_.deadline).count());
}

void MessageCommunicator::Deliver(const Messages& messages, std::string_view what) {
  OneStep(*this, what, messages).Complete(Clock::now() + group_.deadline);
}

int MessageCommunicator::NextCollectiveTag() {
  // Pairs up to below 2^15; no rank has so many collectives in flight.
  constexpr int kFirst = 2 * Exchange::kTags, kPairs = ((1 << 15) - kFirst) / 2;
  return kFirst + 2 * static_cast<int>(collectives_++ % kPairs);
}

std::unique_ptr<MessageCommunicator::Operation> MessageCommunicator::DoExchange(
    const Exchange& exchange) {
  Messages messages;
  const ConstView& send = exchange.send;
  const View& receive = exchange.receive;
  if (send.size() > 0) {
    messages.sends.push_back({send.data, send.size_bytes(), exchange.to, exchange.tag});
  }
  if (receive.size() > 0) {
    messages.receives.push_back({receive.data, receive.size_bytes(), exchange.from, exchange.tag});
  }
  return std::make_unique<OneStep>(*this, "exchange", messages);
}

std::unique_ptr<MessageCommunicator::Operation> MessageCommunicator::DoAllGather(ConstView send,
                                                                                 View receive) {
  const int64_t bytes = send.size_bytes();
  const int tag = NextCollectiveTag();
  char* const own = At(receive, rank() * bytes);
  if (own != send.data) std::memcpy(own, send.data, static_cast<size_t>(bytes));
  Messages messages;
  for (int peer = 0; peer < size(); ++peer) {
    if (peer == rank()) continue;
    messages.sends.push_back({send.data, bytes, peer, tag});
    messages.receives.push_back({At(receive, peer * bytes), bytes, peer, tag});
  }
  return std::make_unique<OneStep>(*this, "all-gather", messages);
}

std::unique_ptr<MessageCommunicator::Operation> MessageCommunicator::DoAllToAll(ConstView send,
                                                                                View receive) {
  const int64_t bytes = send.size_bytes() / size();
  const int tag = NextCollectiveTag();
  std::memcpy(At(receive, rank() * bytes), At(send, rank() * bytes), static_cast<size_t>(bytes));
  Messages messages;
  for (int peer = 0; peer < size(); ++peer) {
    if (peer == rank()) continue;
    messages.sends.push_back({At(send, peer * bytes), bytes, peer, tag});
    messages.receives.push_back({At(receive, peer * bytes), bytes, peer, tag});
  }
  return std::make_unique<OneStep>(*this, "all-to-all", messages);
}

std::unique_ptr<MessageCommunicator::Operation> MessageCommunicator::DoAllReduceSum(View data) {
  return std::make_unique<AllReduceOperation>(*this, data, NextCollectiveTag());
}

std::unique_ptr<MessageCommunicator::Operation> MessageCommunicator::DoBroadcast(View data,
                                                                                 int root) {
  const int tag = NextCollectiveTag();
  Messages messages;
  if (rank() != root) {
    messages.receives.push_back({data.data, data.size_bytes(), root, tag});
  } else {
    for (int peer = 0; peer < size(); ++peer) {
      if (peer != rank()) messages.sends.push_back({data.data, data.size_bytes(), peer, tag});
    }
  }
  return std::make_unique<OneStep>(*this, "broadcast", messages);
}

std::unique_ptr<MessageCommunicator::Operation> MessageCommunicator::DoLend(ConstView block, int to,
                                                                            int tag) {
  return std::make_unique<LendOperation>(
      *this, Outgoing{block.data, block.size_bytes(), to, Exchange::kTags + tag});
}

std::unique_ptr<Loan::Operation> MessageCommunicator::DoBorrow(const ConstView& like, int from,
                                                               int tag) {
  return std::make_unique<BorrowOperation>(
      *this, Incoming{nullptr, like.size_bytes(), from, Exchange::kTags + tag});
}

std::vector<std::string> MessageCommunicator::DoAllGatherText(const std::string& text) {
  const int tag = NextCollectiveTag();
  const auto own_bytes = static_cast<int64_t>(text.size());
  std::vector<int64_t> bytes(static_cast<size_t>(size()), own_bytes);
  std::vector<std::string> texts(static_cast<size_t>(size()), text);
  Messages sizes;
  for (int peer = 0; peer < size(); ++peer) {
    if (peer == rank()) continue;
    sizes.sends.push_back({&own_bytes, sizeof own_bytes, peer, tag});
    sizes.receives.push_back({&bytes[static_cast<size_t>(peer)], sizeof own_bytes, peer, tag});
  }
  Deliver(sizes, "exchange of text sizes");
  Messages contents;
  for (int peer = 0; peer < size(); ++peer) {
    if (peer == rank()) continue;
    std::string& theirs = texts[static_cast<size_t>(peer)];
    theirs.resize(static_cast<size_t>(bytes[static_cast<size_t>(peer)]));
    contents.sends.push_back({text.data(), own_bytes, peer, tag + 1});
    contents.receives.push_back(
        {theirs.data(), static_cast<int64_t>(theirs.size()), peer, tag + 1});
  }
  Deliver(contents, "exchange of texts");
  return texts;
}

void MessageCommunicator::DoBarrier() {
  const int tag = NextCollectiveTag();
  Messages messages;
  for (int peer = 0; peer < size(); ++peer) {
    if (peer == rank()) continue;
    messages.sends.push_back({nullptr, 0, peer, tag});
    messages.receives.push_back({nullptr, 0, peer, tag});
  }
  Deliver(messages, "barrier");
}

}  // namespace annulus::parallel
