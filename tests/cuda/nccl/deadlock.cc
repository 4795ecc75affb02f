#include "tests/cuda/nccl/deadlock.h"

#include <algorithm>

#include "tests/cuda/emulator/report.h"

namespace annulus::nccl_stand_in {
namespace {

using emulator::Stream;

// A stream cannot go on before another one does.
struct Link {
  const Stream* to;
  std::string why;
};

class Search {
 public:
  // Whether a way from `stream` leads back to it; ways_ has it then.
  bool Find(const Stream& stream) {
    if (Contains(path_, &stream)) return &stream == path_.front();
    if (Contains(seen_, &stream)) return false;
    seen_.push_back(&stream);
    path_.push_back(&stream);
    for (const Link& link : LinksOf(stream)) {
      ways_.push_back(link.why);
      if (Find(*link.to)) return true;
      ways_.pop_back();
    }
    path_.pop_back();
    return false;
  }

  const std::vector<std::string>& ways() const { return ways_; }

 private:
  static bool Contains(const std::vector<const Stream*>& streams, const Stream* stream) {
    return std::find(streams.begin(), streams.end(), stream) != streams.end();
  }

  static const Launch* HeadOf(const Stream& stream) {
    for (const std::shared_ptr<Launch>& launch : launches) {
      if (launch->stream.get() == &stream && launch->work == stream.done + 1) return launch.get();
    }
    return nullptr;
  }

  static std::vector<Link> LinksOf(const Stream& stream) {
    std::vector<Link> links;
    if (const Launch* head = HeadOf(stream)) {
      for (const Message& message : head->messages) {
        if (message.moved || message.other == nullptr) continue;
        const Launch& other = *message.other->launch;
        if (other.work == 0 || other.comm->aborted || IsAtHead(other)) continue;
        links.push_back({other.stream.get(), Describe(message) + " waits for " +
                                                 Describe(*message.other) +
                                                 ", which is behind other work of its stream"});
      }
    } else if (!stream.pending.empty()) {
      for (const emulator::Point& point : stream.pending.front().after) {
        if (point.stream->done >= point.work) continue;
        links.push_back({point.stream.get(), stream.pending.front().name});
      }
    }
    return links;
  }

  std::vector<const Stream*> path_, seen_;
  std::vector<std::string> ways_;
};

}  // namespace

void TellDeadlock(const Launch& launch) {
  Search search;
  if (!search.Find(*launch.stream)) return;
  std::string text = "NCCL: ranks wait for each other: ";
  for (const std::string& way : search.ways()) {
    if (&way != &search.ways().front()) text += "; ";
    text += way;
  }
  emulator::Tell(emulator::Defect::kDeadlock, text);
}

}  // namespace annulus::nccl_stand_in
