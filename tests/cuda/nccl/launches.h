// What stands on streams: launches of messages, and how those of two ranks find each other.
//
// Messages between two ranks of a clique meet in the order of their issue, as NCCL knows no tags.
// Collectives are messages, too, which meet only those of the collective of the same number.
#pragma once

#include <compare>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "tests/cuda/emulator/streams.h"
#include "tests/cuda/nccl/include/nccl.h"

namespace annulus::nccl_stand_in {

struct Launch;

// One side of a message.
struct Message {
  const char* call = "";  // that it is of, as in "ncclSend"
  bool sends = false;
  int peer = 0;
  char* data = nullptr;
  size_t bytes = 0;
  ncclDataType_t type = ncclInt8;
  uint64_t collective = 0;  // its number, from 1; 0: point to point

  Launch* launch = nullptr;
  Message* other = nullptr;  // the other side, once it is there
  bool moved = false;
};

// What one rank begins at once on a stream; it ends when all of it is done.
struct Launch {
  ncclComm_t comm = nullptr;
  emulator::StreamPointer stream;
  std::deque<Message> messages;  // whose addresses stay
  struct Copy {
    char* to;
    const char* from;
    size_t bytes;
  };
  std::vector<Copy> copies;  // of this rank to itself
  uint64_t work = 0;         // its number on the stream; 0: not on it
  emulator::WorkClockPointer clock;
  bool done = false;

  emulator::Point point() const { return {stream, work, clock}; }
};

// Messages that have not met, by who sends to whom.
class Lanes {
 public:
  void Post(Message& message);

 private:
  struct Lane {
    uint64_t collective;
    int from;
    int to;
    auto operator<=>(const Lane&) const = default;
  };
  std::map<Lane, std::deque<Message*>> sends_, receives_;
};

// Ranks that one id has brought together.
struct Clique {
  int ranks = 0;
  std::vector<ncclComm_t> members;  // by rank; null: not there yet
  Lanes lanes;
  int finalized = 0;
};

// Guards all of the above and all communicators. Taken after the emulator's lock of streams, never
// before it.
inline std::mutex mutex;
// All that are not done.
inline std::vector<std::shared_ptr<Launch>> launches;

// Puts a launch on its stream. Without `mutex`.
void Enqueue(const std::shared_ptr<Launch>& launch);

// As in "ncclSend from rank 0 to rank 1".
std::string Describe(const Message& message);

// Whether a launch's stream has come to it; with streams locked.
bool IsAtHead(const Launch& launch);

}  // namespace annulus::nccl_stand_in

struct ncclComm {
  std::shared_ptr<annulus::nccl_stand_in::Clique> clique;
  int rank = 0;
  int device = 0;
  bool blocking = true;
  bool aborted = false;
  bool finalized = false;
  bool destroyed = false;
  ncclResult_t error = ncclSuccess;
  std::string last_error;
  uint64_t collectives = 0;
  std::vector<std::shared_ptr<annulus::nccl_stand_in::Launch>> issued;   // not on a stream yet
  std::vector<std::shared_ptr<annulus::nccl_stand_in::Launch>> pending;  // not known to be done
};
