#include "parallel/block_exchange.h"

#include "kernels/base/error.h"

namespace annulus::parallel {
namespace {

using Way = BlockMessage::Way;

// Of all blocks that travel between a pair of ranks at once, no two are of one owner and cargo.
int TagOf(Cargo cargo, int owner) {
  return 2 * (owner % (Exchange::kTags / 2)) + (cargo == Cargo::kGradients ? 1 : 0);
}

}  // namespace

BlockExchange::BlockExchange(const Route& route, kernels::StackMemory& memory, const ConstView& own)
    : route_(route), own_(own) {
  const std::string_view owner =
      route.cargo == Cargo::kKeys ? "keys in flight" : "key gradients in flight";
  for (int slot = 0; slot < route.stream.slots; ++slot) {
    slots_.push_back(memory.Allocate(own.dtype, {own.dim(0), own.dim(1), own.dim(2), own.dim(3)},
                                     kernels::MemoryCategory::kRing, owner));
  }
  in_place_.resize(static_cast<size_t>(route.stream.in_place));
}

BlockExchange::BlockExchange(const Route& route, kernels::StackMemory& memory, const View& own)
    : BlockExchange(route, memory, ConstView(own)) {
  writable_own_ = own;
}

void BlockExchange::Wait(int point) {
  for (Borrowed& borrowed : borrowed_) {
    const BlockMessage& message = *borrowed.message;
    if (message.due == point) in_place_[IndexInPlace(message.slot)] = borrowed.loan.Open();
  }
  for (Pending& pending : pending_) {
    const BlockMessage& message = *pending.message;
    if (message.due > point) continue;
    pending.transfer.Wait();
    if (message.adds) route_.kernels.Add({.x = At(message.slot), .y = Writable(kOwn)});
  }
  std::erase_if(pending_, [point](const Pending& p) { return p.message->due <= point; });
}

void BlockExchange::Start(int point) {
  const std::vector<BlockMessage>& messages = route_.stream.messages;
  for (; started_ < messages.size() && messages[started_].start <= point; ++started_) {
    Begin(messages[started_]);
  }
}

void BlockExchange::Begin(const BlockMessage& message) {
  if (message.in_place && message.way == Way::kReceive) {
    borrowed_.push_back(
        {&message, route_.context.Borrow(own_, message.peer, TagOf(route_.cargo, message.owner))});
  } else {
    pending_.push_back({&message, Post(message)});
  }
}

void BlockExchange::Return() {
  std::erase_if(borrowed_, [](Borrowed& borrowed) {
    if (!borrowed.loan.is_open()) return false;
    borrowed.loan.Return();
    return true;
  });
}

Transfer BlockExchange::Post(const BlockMessage& message) const {
  if (message.in_place) {
    return route_.context.Lend(own_, message.peer, TagOf(route_.cargo, message.owner));
  }
  Exchange exchange{.tag = TagOf(route_.cargo, message.owner)};
  if (message.way == Way::kSend) {
    exchange.send = At(message.slot);
    exchange.to = message.peer;
  } else {
    exchange.receive = Writable(message.slot);
    exchange.from = message.peer;
  }
  return route_.context.Start(exchange);
}

size_t BlockExchange::IndexInPlace(int slot) const {
  return static_cast<size_t>(slot) - slots_.size();
}

ConstView BlockExchange::At(int slot) const {
  if (slot == kOwn) return own_;
  const auto index = static_cast<size_t>(slot);
  return index < slots_.size() ? ConstView(slots_[index]) : in_place_[IndexInPlace(slot)];
}

View BlockExchange::Writable(int slot) const {
  return slot == kOwn ? writable_own_ : slots_[static_cast<size_t>(slot)];
}

}  // namespace annulus::parallel
