#include "tests/cuda/nccl/launches.h"

#include <algorithm>
#include <cstring>

#include "tests/cuda/emulator/memory.h"
#include "tests/cuda/emulator/report.h"
#include "tests/cuda/emulator/text.h"
#include "tests/cuda/nccl/deadlock.h"

namespace annulus::nccl_stand_in {
namespace {

using emulator::Defect;
using emulator::DeviceMemoryOpen;
using emulator::Obstacle;
using emulator::Tell;
using emulator::Text;

void CheckFit(const Message& send, const Message& receive) {
  const bool is_one_call = send.collective == 0 || std::strcmp(send.call, receive.call) == 0;
  if (send.bytes == receive.bytes && send.type == receive.type && is_one_call) return;
  Tell(Defect::kStream, Text("NCCL: %s of %zu bytes of type %d meets %s of %zu bytes of type %d",
                             Describe(send).c_str(), send.bytes, send.type,
                             Describe(receive).c_str(), receive.bytes, receive.type));
}

// Streams locked. What keeps a launch at the head of its stream from running.
Obstacle ObstacleOf(const Launch& launch) {
  const std::lock_guard lock(mutex);
  if (launch.comm->aborted) return {};
  bool is_alone = false;
  for (const Message& message : launch.messages) {
    if (message.moved) continue;
    const Launch* other = message.other == nullptr ? nullptr : message.other->launch;
    if (other == nullptr || other->work == 0 || other->comm->aborted) {
      is_alone = true;
    } else if (!IsAtHead(*other)) {
      TellDeadlock(launch);
      return {true, other->point()};
    }
  }
  return {is_alone, {}};
}

// By the work of the rank whose side it is, whoever runs it.
void Touch(const Message& message, size_t bytes) {
  const Launch& launch = *message.launch;
  const std::string name = Describe(message);
  const emulator::InWork in({launch.stream->number, launch.work, name.c_str(), launch.clock});
  emulator::TouchByWork(message.data, bytes,
                        message.sends ? emulator::Access::kRead : emulator::Access::kWrite);
}

void Move(Message& message) {
  const Message& from = message.sends ? message : *message.other;
  const Message& to = message.sends ? *message.other : message;
  const DeviceMemoryOpen sender(from.launch->comm->device), receiver(to.launch->comm->device);
  const size_t bytes = std::min(from.bytes, to.bytes);
  Touch(from, bytes);
  Touch(to, bytes);
  std::memcpy(to.data, from.data, bytes);
  message.moved = message.other->moved = true;
}

// The messages of ranks that are there are moved both ways: a rank that goes on may write again
// what it sent.
void Run(Launch& launch) {
  const std::lock_guard lock(mutex);
  if (!launch.comm->aborted) {
    for (const Launch::Copy& copy : launch.copies) {
      emulator::TouchByWork(copy.from, copy.bytes, emulator::Access::kRead);
      emulator::TouchByWork(copy.to, copy.bytes, emulator::Access::kWrite);
      std::memmove(copy.to, copy.from, copy.bytes);
    }
    for (Message& message : launch.messages) {
      if (!message.moved && !message.other->launch->comm->aborted) Move(message);
    }
  }
  launch.done = true;
}

}  // namespace

void Lanes::Post(Message& message) {
  const int rank = message.launch->comm->rank;
  const Lane lane{message.collective, message.sends ? rank : message.peer,
                  message.sends ? message.peer : rank};
  std::deque<Message*>& others = (message.sends ? receives_ : sends_)[lane];
  if (others.empty()) {
    (message.sends ? sends_ : receives_)[lane].push_back(&message);
    return;
  }
  Message& other = *others.front();
  others.pop_front();
  message.other = &other;
  other.other = &message;
  CheckFit(message.sends ? message : other, message.sends ? other : message);
}

void Enqueue(const std::shared_ptr<Launch>& launch) {
  std::string name = "a launch of NCCL";
  {
    const std::lock_guard lock(mutex);
    for (Message& message : launch->messages) launch->comm->clique->lanes.Post(message);
    std::erase_if(launches, [](const std::shared_ptr<Launch>& old) { return old->done; });
    launches.push_back(launch);
    if (!launch->messages.empty()) name = Describe(launch->messages.front());
  }
  const emulator::Point point = emulator::Enqueue(
      launch->stream,
      {name, [launch] { Run(*launch); }, [launch] { return ObstacleOf(*launch); }, {}});
  {
    const std::lock_guard lock(mutex);
    launch->work = point.work;
    launch->clock = point.clock;
  }
  // Who waits for this launch could not see it before.
  emulator::Enqueue(launch->stream, {"news of " + name, {}, {}, {}});
}

std::string Describe(const Message& message) {
  return Text("%s %s rank %d %s rank %d", message.call, message.sends ? "from" : "on",
              message.launch->comm->rank, message.sends ? "to" : "from", message.peer);
}

bool IsAtHead(const Launch& launch) { return launch.stream->done + 1 >= launch.work; }

}  // namespace annulus::nccl_stand_in
