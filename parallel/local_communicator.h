// Ranks as threads of one process: training with --ranks N, and the fast way to test any number of
// ranks. A message is copied once, by its receiver, straight out of the sender's buffer.
#pragma once

#include <chrono>
#include <functional>
#include <memory>

#include "parallel/communicator.h"

namespace annulus::parallel {

struct LocalWorld;

// What the ranks of one process share. Thread-safe.
class LocalGroup {
 public:
  explicit LocalGroup(int ranks, std::chrono::steady_clock::duration deadline = kDefaultDeadline);
  ~LocalGroup();

  // The communicator of `rank`, to be used by one thread at a time and by at most one communicator
  // per rank. It keeps what it shares with the others alive. Its Abort() makes every wait of every
  // other rank, in this group and in those split from it, throw SystemError "rank R failed: why".
  std::unique_ptr<Communicator> Join(int rank);

  // The rank that aborted first, or -1.
  int aborted_by() const;

 private:
  std::shared_ptr<LocalWorld> world_;
};

// Runs `body` once per rank, each on a thread of its own, and joins them. When a body throws, the
// group is aborted and, after all have ended, the exception that began it is thrown again here, not
// those of the ranks that then waited in vain.
void RunRanks(int ranks, const std::function<void(Communicator&)>& body,
              std::chrono::steady_clock::duration deadline = kDefaultDeadline);

}  // namespace annulus::parallel
