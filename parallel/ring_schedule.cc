// The ring and the double ring. Ranks are numbered node by node, `inner` to a node. A block makes a
// lap in every node as far as some rank wants it, one hop per step; its laps begin at its owner's
// place in the node. While a lap goes on, the block is sent to the next node, so it is there a
// whole lap ahead. Ranks that can read the block in place take no copy and make no hop of the lap:
// a hop from one of them is one from the owner. The sum of its gradient begins at the first reader
// that is not its owner, goes from hop to hop, from the last hop of a lap to the first one of the
// next, and from the last of all home.
#include <algorithm>
#include <optional>

#include "parallel/schedule_kinds.h"

namespace annulus::parallel {
namespace {

using Way = BlockMessage::Way;

// Where the block of one owner goes, to the ranks that want it.
class Route {
 public:
  Route(int inner, int ranks, int owner, const Wants& wants)
      : inner_(inner), nodes_(ranks / inner), owner_(owner), wants_(wants) {}

  int RankAt(int lap, int hop) const {
    return (owner_ / inner_ + lap) % nodes_ * inner_ + (owner_ % inner_ + hop) % inner_;
  }
  int StepAt(int lap, int hop) const { return lap * inner_ + hop; }

  // The last rank of the lap that wants the block; hop 0 has it in any case.
  int LastHop(int lap) const {
    int hop = inner_ - 1;
    while (hop > 0 && !wants_(RankAt(lap, hop), owner_)) --hop;
    return hop;
  }
  // The step in which a rank other than the owner is the first to want the block; the number of
  // steps where none does.
  int FirstReaderStep() const {
    for (int step = 1; step < nodes_ * inner_; ++step) {
      if (wants_(RankAt(step / inner_, step % inner_), owner_)) return step;
    }
    return nodes_ * inner_;
  }
  // The last lap in which some rank wants the block; lap 0 is made in any case.
  int LastLap() const {
    int lap = nodes_ - 1;
    while (lap > 0 && LastHop(lap) == 0 && !wants_(RankAt(lap, 0), owner_)) --lap;
    return lap;
  }

 private:
  int inner_;
  int nodes_;
  int owner_;
  const Wants& wants_;
};

// The keys of one owner, as they come to the ranks of a ring.
class KeysRoute {
 public:
  KeysRoute(int inner, int owner, const Ring& ring)
      : ring_(ring), inner_(inner), owner_(owner), route_(inner, ring.ranks, owner, ring.wants) {}

  // What `rank`, where it is at (lap, hop), receives and sends.
  void AddMessages(int rank, int lap, int hop, BlockStream& keys) const {
    if (rank == owner_) {
      for (int step = 1; step < ring_.ranks; ++step) {
        AddSend(rank, step / inner_, step % inner_, keys);
      }
      return;
    }
    if (const auto arrival = Arrival(lap, hop)) keys.messages.push_back(*arrival);
    if (hop + 1 < inner_) AddSend(rank, lap, hop + 1, keys);
    if (hop == 0 && (lap + 1) * inner_ < ring_.ranks) AddSend(rank, lap + 1, 0, keys);
  }

 private:
  // Whether the rank at (lap, hop), or one that it sends the keys on to, has to have a copy.
  bool NeedsCopy(int lap, int hop) const {
    for (int next = hop; next < inner_; ++next) {
      const int rank = route_.RankAt(lap, next);
      if (ring_.in_place(rank, owner_)) {
        if (next == hop) return false;
        break;
      }
      if (ring_.wants(rank, owner_)) return true;
    }
    return hop == 0 && (lap + 1) * inner_ < ring_.ranks && NeedsCopy(lap + 1, 0);
  }

  // How they come to the rank at (lap, hop), as that rank sees it; none where it needs none and
  // sends none on.
  std::optional<BlockMessage> Arrival(int lap, int hop) const {
    const int rank = route_.RankAt(lap, hop), step = route_.StepAt(lap, hop);
    if (ring_.in_place(rank, owner_)) {
      if (!ring_.wants(rank, owner_)) return {};
      return BorrowedFrom(owner_, step);
    }
    if (!NeedsCopy(lap, hop)) return {};
    const int from_lap = hop > 0 ? lap : lap - 1, from_hop = hop > 0 ? hop - 1 : 0;
    const int before = route_.RankAt(from_lap, from_hop);
    return BlockMessage{.way = Way::kReceive,
                        .peer = ring_.in_place(before, owner_) ? owner_ : before,
                        .owner = owner_,
                        .start = route_.StepAt(from_lap, from_hop),
                        .due = step};
  }

  // The other side of Arrival(), where it is `rank` that sends.
  void AddSend(int rank, int lap, int hop, BlockStream& keys) const {
    const std::optional<BlockMessage> arrival = Arrival(lap, hop);
    if (!arrival || arrival->peer != rank) return;
    const int to = route_.RankAt(lap, hop);
    // Own keys do not lie in a buffer that is needed again.
    const BlockMessage copy{.peer = to,
                            .owner = owner_,
                            .start = arrival->start,
                            .due = rank == owner_ ? ring_.ranks : arrival->due};
    keys.messages.push_back(arrival->in_place ? LentTo(to, owner_, ring_.ranks) : copy);
  }

  const Ring& ring_;
  int inner_;
  int owner_;
  Route route_;
};

// What this rank does with the gradient of one block that comes by it at (lap, hop).
struct Visit {
  const Route& route;
  int owner;
  int lap;
  int hop;
  int last_lap;
  int last_hop;  // of this lap
  int first_reader_step;

  int step() const { return route.StepAt(lap, hop); }
};

void AddArrival(const Visit& visit, Schedule& schedule) {
  const auto& [route, owner, lap, hop, last_lap, last_hop, first_reader_step] = visit;
  const int step = visit.step();
  if (hop > 0) {
    const BlockMessage message{.way = Way::kReceive,
                               .peer = route.RankAt(lap, hop - 1),
                               .owner = owner,
                               .start = step - 1,
                               .due = step};
    if (message.start >= first_reader_step) schedule.gradients.messages.push_back(message);
  } else if (lap > 0) {
    // From the lap's last rank, which sends it at once and needs its buffer again.
    const int left_at = route.LastHop(lap - 1), left_in = route.StepAt(lap - 1, left_at);
    if (left_in < first_reader_step) return;
    schedule.gradients.messages.push_back({.way = Way::kReceive,
                                           .peer = route.RankAt(lap - 1, left_at),
                                           .owner = owner,
                                           .start = left_in,
                                           .due = step});
  }
}

void AddDeparture(const Visit& visit, Schedule& schedule) {
  const auto& [route, owner, lap, hop, last_lap, last_hop, first_reader_step] = visit;
  const int step = visit.step();
  if (step < first_reader_step) return;
  int next = owner;
  if (hop < last_hop) {
    next = route.RankAt(lap, hop + 1);
  } else if (lap < last_lap) {
    next = route.RankAt(lap + 1, 0);
  }
  schedule.gradients.messages.push_back(
      {.peer = next, .owner = owner, .start = step, .due = step + 1});
}

// The gradient of own keys that the other ranks made, from the one that had them last.
void AddHomecoming(const Route& route, int rank, Schedule& schedule) {
  const int lap = route.LastLap(), hop = route.LastHop(lap), step = route.StepAt(lap, hop);
  if (step == 0) return;
  schedule.gradients.messages.push_back({.way = Way::kReceive,
                                         .peer = route.RankAt(lap, hop),
                                         .owner = rank,
                                         .start = step,
                                         .due = step + 1,
                                         .adds = true});
}

}  // namespace

Schedule ListRings(int inner, int rank, const Ring& ring) {
  const int ranks = ring.ranks;
  const Wants& wants = ring.wants;
  Schedule schedule;
  schedule.steps.resize(static_cast<size_t>(ranks));
  const int nodes = ranks / inner;
  for (int lap = 0; lap < nodes; ++lap) {
    for (int hop = 0; hop < inner; ++hop) {
      const int owner =
          (rank / inner - lap + nodes) % nodes * inner + (rank % inner - hop + inner) % inner;
      KeysRoute(inner, owner, ring).AddMessages(rank, lap, hop, schedule.keys);
      const Route route(inner, ranks, owner, wants);
      const int last_lap = route.LastLap();
      if (lap > last_lap || hop > route.LastHop(lap)) continue;
      const Visit visit{
          route, owner, lap, hop, last_lap, route.LastHop(lap), route.FirstReaderStep()};
      if (owner == rank || wants(rank, owner)) {
        schedule.steps[static_cast<size_t>(visit.step())].kv_owner = owner;
      }
      AddArrival(visit, schedule);
      AddDeparture(visit, schedule);
    }
  }
  AddHomecoming(Route(inner, ranks, rank, wants), rank, schedule);
  return schedule;
}

}  // namespace annulus::parallel
