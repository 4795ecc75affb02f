#include "parallel/head_exchange.h"

#include <optional>
#include <vector>

#include "kernels/base/error.h"
#include "parallel/watch.h"

namespace annulus::parallel {
namespace {

using kernels::MemoryCategory;
using kernels::MemoryScope;

void CheckTensor(const HeadMap& map, const Communicator& group, const ConstView& home,
                 const ConstView& away) {
  Check(map.ranks() == group.size(), "heads over {} ranks in a group of {}", map.ranks(),
        group.size());
  Check(home.rank == 4 && away.rank == 4 && home.dtype == away.dtype && home.contiguous() &&
            away.contiguous() && away.dim(0) == home.dim(0) &&
            away.dim(1) == group.size() * home.dim(1) && away.dim(2) == map.count(group.rank()) &&
            away.dim(3) == home.dim(3),
        "heads of {} exchanged with {} over {} ranks", home.ToString(), away.ToString(),
        group.size());
}

// Of a tensor away, the tokens of `rank`: [N,T,held,D].
template <class AnyView>
AnyView TokensOf(const AnyView& away, int rank, int64_t tokens) {
  return away.Slice(1, rank * tokens, tokens);
}

// Exchanges with all peers at once, each under the next tag. Where tags run out the first ones have
// to arrive before they serve again.
class Flight {
 public:
  explicit Flight(Communicator& group) : group_(group) {}

  int peers() const { return group_.size() - 1; }
  // Every rank sends to the one `distance` further on and receives from the one as far back.
  int To(int distance) const { return (group_.rank() + distance) % group_.size(); }
  int From(int distance) const {
    return (group_.rank() - distance + group_.size()) % group_.size();
  }

  void NextTag() {
    if (++tag_ < Exchange::kTags) return;
    Wait();
    tag_ = 0;
  }
  void Start(const ConstView& send, const View& receive, int distance) {
    if (!batch_) batch_.emplace(group_);
    transfers_.push_back(group_.Start({.send = send,
                                       .to = To(distance),
                                       .receive = receive,
                                       .from = From(distance),
                                       .tag = tag_}));
  }
  void Wait() {
    if (batch_) batch_->Launch();
    batch_.reset();
    for (Transfer& transfer : transfers_) transfer.Wait();
    transfers_.clear();
  }

 private:
  Communicator& group_;
  std::vector<Transfer> transfers_;
  std::optional<Communicator::Batch> batch_;  // what is started since the last wait
  int tag_ = -1;
};

// Buffers for what travels to or from each of `ranks`: [N,T,heads that it holds,D].
std::vector<View> AllocatePieces(kernels::StackMemory& memory, const HeadMap& map,
                                 const ConstView& home, const std::vector<int>& ranks) {
  std::vector<View> pieces;
  for (const int rank : ranks) {
    pieces.push_back(memory.Allocate(home.dtype,
                                     {home.dim(0), home.dim(1), map.count(rank), home.dim(3)},
                                     MemoryCategory::kRing, "heads in flight"));
  }
  return pieces;
}

// The heads of `home` that `runs` names, into `piece`.
void Pack(kernels::Kernels& kernels, const std::vector<HeadRun>& runs, const ConstView& home,
          const View& piece) {
  int64_t place = 0;
  for (const HeadRun& run : runs) {
    kernels.CopyStrided(
        {.from = home.Slice(2, run.begin, run.count), .to = piece.Slice(2, place, run.count)});
    place += run.count;
  }
}

// The reverse. The first piece that has a head overwrites it, others add to it; `seen` says of each
// head whether there was one.
void Unpack(kernels::Kernels& kernels, const std::vector<HeadRun>& runs, const ConstView& piece,
            const View& home, std::vector<bool>& seen) {
  int64_t place = 0;
  for (const HeadRun& run : runs) {
    for (int64_t done = 0; done < run.count;) {
      const auto is_seen = [&](int64_t i) {
        return bool{seen[static_cast<size_t>(run.begin + i)]};
      };
      int64_t count = 1;
      while (done + count < run.count && is_seen(done + count) == is_seen(done)) ++count;
      kernels.CopyStrided({.from = piece.Slice(2, place, count),
                           .to = home.Slice(2, run.begin + done, count),
                           .accumulate = is_seen(done)});
      for (int64_t i = 0; i < count; ++i) seen[static_cast<size_t>(run.begin + done + i)] = true;
      place += count;
      done += count;
    }
  }
}

}  // namespace

void HeadExchange::Out(std::span<const HeadsOut> tensors) {
  const PhaseWatch watch(group_, "exchange heads");
  MemoryScope scope(memory_);
  Flight flight(group_);
  for (const HeadsOut& t : tensors) {
    CheckTensor(*t.map, group_, t.home, t.away);
    std::vector<int> receivers;
    for (int d = 1; d <= flight.peers(); ++d) receivers.push_back(flight.To(d));
    const std::vector<View> pieces = AllocatePieces(memory_, *t.map, t.home, receivers);
    for (size_t i = 0; i < pieces.size(); ++i) {
      Pack(kernels_, t.map->runs(receivers[i]), t.home, pieces[i]);
    }
    for (int64_t n = 0; n < t.home.dim(0); ++n) {
      flight.NextTag();
      for (int d = 1; d <= flight.peers(); ++d) {
        const View place = TokensOf(t.away, flight.From(d), t.home.dim(1));
        flight.Start(pieces[static_cast<size_t>(d - 1)].Slice(0, n, 1), place.Slice(0, n, 1), d);
      }
    }
    Pack(kernels_, t.map->runs(group_.rank()), t.home,
         TokensOf(t.away, group_.rank(), t.home.dim(1)));
  }
  flight.Wait();
}

void HeadExchange::Home(std::span<const HeadsHome> tensors) {
  const PhaseWatch watch(group_, "exchange heads");
  MemoryScope scope(memory_);
  std::vector<std::vector<View>> pieces;  // of each tensor, by sender; its own is no copy
  Flight flight(group_);
  for (const HeadsHome& t : tensors) {
    CheckTensor(*t.map, group_, t.home, t.away);
    std::vector<int> senders;
    for (int d = 1; d <= flight.peers(); ++d) senders.push_back(flight.From(d));
    pieces.push_back(AllocatePieces(memory_, *t.map, t.home, senders));
    for (int64_t n = 0; n < t.home.dim(0); ++n) {
      flight.NextTag();
      for (int d = 1; d <= flight.peers(); ++d) {
        const ConstView tokens = TokensOf(t.away, flight.To(d), t.home.dim(1));
        flight.Start(tokens.Slice(0, n, 1),
                     pieces.back()[static_cast<size_t>(d - 1)].Slice(0, n, 1), d);
      }
    }
  }
  flight.Wait();
  for (size_t i = 0; i < tensors.size(); ++i) {
    const HeadsHome& t = tensors[i];
    std::vector<bool> seen(static_cast<size_t>(t.home.dim(2)), false);
    for (int rank = 0; rank < group_.size(); ++rank) {
      const int distance = (group_.rank() - rank + group_.size()) % group_.size();
      const ConstView piece = distance == 0
                                  ? TokensOf(t.away, rank, t.home.dim(1))
                                  : ConstView(pieces[i][static_cast<size_t>(distance - 1)]);
      Unpack(kernels_, t.map->runs(rank), piece, t.home, seen);
    }
  }
}

}  // namespace annulus::parallel
