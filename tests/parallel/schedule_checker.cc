#include "tests/parallel/schedule_checker.h"

#include <fmt/format.h>

#include <map>
#include <stdexcept>
#include <tuple>

namespace annulus::parallel {
namespace {

using Way = BlockMessage::Way;

struct Fault : std::runtime_error {
  using std::runtime_error::runtime_error;
};

enum class Cargo : uint8_t { kKeys, kGradients };

// A block in memory: whose keys, or whose keys' gradient, and which ranks' parts it sums.
struct Buffer {
  int owner = kNobody;
  std::map<int, int> parts = {};
  int sends = 0;  // under way
  bool receives = false;
};

// What two ranks say of one message. A block that is read in place is nowhere but at its sender.
struct Wire {
  Buffer* from = nullptr;
  Buffer* to = nullptr;
  bool in_place = false;
  bool asked_for = false;
  bool returned = false;
};

struct Action {
  enum class Kind : uint8_t { kStart, kWait, kFold, kReturn, kAddPart };
  Kind kind;
  Cargo cargo = Cargo::kKeys;
  const BlockMessage* message = nullptr;
  const ScheduleStep* step = nullptr;
};

struct Rank {
  const Schedule* schedule = nullptr;
  std::vector<Action> program = {};
  size_t next = 0;
  std::vector<Buffer> keys = {}, gradients = {};  // the own tensor first
  std::map<int, const Buffer*> borrowed = {};     // by slot, while they may be read
  std::vector<Wire*> reads = {};                  // of those
  std::map<int, int> folds = {};                  // by owner

  const Buffer& KeysAt(int slot) {
    if (slot < schedule->keys.slots) return At(Cargo::kKeys, slot);
    if (!borrowed.contains(slot)) throw Fault("keys are read in place before they are due");
    return *borrowed.at(slot);
  }
  Buffer& At(Cargo cargo, int slot) {
    std::vector<Buffer>& buffers = cargo == Cargo::kKeys ? keys : gradients;
    if (slot < kOwn || slot + 1 >= std::ssize(buffers)) throw Fault(fmt::format("slot {}", slot));
    return buffers[static_cast<size_t>(slot + 1)];
  }
};

void AddPoint(const BlockStream& stream, Cargo cargo, int point, Action::Kind kind, Rank& rank) {
  for (const BlockMessage& message : stream.messages) {
    if ((kind == Action::Kind::kStart ? message.start : message.due) != point) continue;
    rank.program.push_back({.kind = kind, .cargo = cargo, .message = &message});
  }
}

std::vector<Action>& Program(Rank& rank) {
  const Schedule& schedule = *rank.schedule;
  const int steps = static_cast<int>(schedule.steps.size());
  for (int s = 0; s <= steps; ++s) {
    AddPoint(schedule.keys, Cargo::kKeys, s, Action::Kind::kWait, rank);
    if (s < steps) AddPoint(schedule.keys, Cargo::kKeys, s, Action::Kind::kStart, rank);
    const ScheduleStep* step = s < steps ? &schedule.steps[static_cast<size_t>(s)] : nullptr;
    const bool folds = step != nullptr && step->kv_owner != kNobody;
    if (folds) rank.program.push_back({.kind = Action::Kind::kFold, .step = step});
    rank.program.push_back({.kind = Action::Kind::kReturn});
    AddPoint(schedule.gradients, Cargo::kGradients, s, Action::Kind::kWait, rank);
    if (folds) rank.program.push_back({.kind = Action::Kind::kAddPart, .step = step});
    if (s < steps) AddPoint(schedule.gradients, Cargo::kGradients, s, Action::Kind::kStart, rank);
  }
  return rank.program;
}

class Play {
 public:
  Play(const std::vector<Schedule>& all, const WantsTable& wants,
       const std::vector<int>& memory_nodes)
      : ranks_(all.size()), wants_(wants), memory_nodes_(memory_nodes) {
    for (size_t r = 0; r < all.size(); ++r) {
      Rank& rank = ranks_[r];
      rank.schedule = &all[r];
      rank.keys.resize(static_cast<size_t>(all[r].keys.slots + 1));
      rank.keys[0].owner = static_cast<int>(r);
      rank.gradients.resize(static_cast<size_t>(all[r].gradients.slots + 1));
      const size_t messages = all[r].keys.messages.size() + all[r].gradients.messages.size();
      size_t waits = 0, starts = 0;
      for (const Action& action : Program(rank)) {
        waits += action.kind == Action::Kind::kWait ? 1 : 0;
        starts += action.kind == Action::Kind::kStart ? 1 : 0;
      }
      if (waits != messages || starts != messages) throw Fault("a message outside the steps");
    }
  }

  void Run() {
    for (bool moved = true; moved;) {
      moved = false;
      for (size_t r = 0; r < ranks_.size(); ++r) {
        Rank& rank = ranks_[r];
        for (; rank.next < rank.program.size() && Do(static_cast<int>(r), rank); ++rank.next) {
          moved = true;
        }
      }
    }
    for (size_t r = 0; r < ranks_.size(); ++r) {
      if (ranks_[r].next < ranks_[r].program.size()) {
        const BlockMessage& message = *ranks_[r].program[ranks_[r].next].message;
        throw Fault(fmt::format("rank {} waits for rank {} for ever", r, message.peer));
      }
    }
    ExpectEnd();
  }

 private:
  // False where it has to wait.
  bool Do(int r, Rank& rank) {
    const Action& action = rank.program[rank.next];
    switch (action.kind) {
      case Action::Kind::kStart:
        Start(r, rank, action);
        return true;
      case Action::Kind::kWait:
        return Wait(r, rank, action);
      case Action::Kind::kFold:
        Fold(r, rank, *action.step);
        return true;
      case Action::Kind::kReturn:
        rank.borrowed.clear();
        for (Wire* wire : rank.reads) wire->returned = true;
        rank.reads.clear();
        return true;
      case Action::Kind::kAddPart:
        if (action.step->part != action.step->sum) {
          Add(rank, rank.At(Cargo::kGradients, action.step->part),
              rank.At(Cargo::kGradients, action.step->sum), action.step->kv_owner);
        }
        return true;
    }
    return false;
  }

  Wire& WireOf(int r, const Action& action) {
    const BlockMessage& m = *action.message;
    const bool sends = m.way == Way::kSend;
    return wires_[{action.cargo, sends ? r : m.peer, sends ? m.peer : r, m.owner}];
  }

  void Start(int r, Rank& rank, const Action& action) {
    const BlockMessage& m = *action.message;
    if (m.peer == r || m.start >= m.due)
      throw Fault("a message that goes nowhere or takes no time");
    if (m.in_place) return StartInPlace(r, rank, action);
    Buffer& buffer = rank.At(action.cargo, m.slot);
    Wire& wire = WireOf(r, action);
    if (m.way == Way::kSend) {
      Read(buffer, m.owner);
      if (wire.from != nullptr) throw Fault("two messages of one tag");
      wire.from = &buffer;
      ++buffer.sends;
    } else {
      Write(buffer);
      if (action.cargo == Cargo::kKeys && m.slot == kOwn) throw Fault("own keys overwritten");
      if (wire.to != nullptr) throw Fault("two messages of one tag");
      wire.to = &buffer;
      buffer.receives = true;
    }
    if (wire.from != nullptr && wire.to != nullptr) {
      wire.to->owner = wire.from->owner;
      wire.to->parts = wire.from->parts;
    }
  }

  void StartInPlace(int r, Rank& rank, const Action& action) {
    const BlockMessage& m = *action.message;
    const auto node = [&](int of) { return memory_nodes_.at(static_cast<size_t>(of)); };
    if (memory_nodes_.empty() || node(r) != node(m.peer)) throw Fault("no memory is shared");
    if (action.cargo != Cargo::kKeys) throw Fault("a gradient is read in place");
    Wire& wire = WireOf(r, action);
    if (m.way == Way::kReceive) {
      if (m.owner != m.peer) throw Fault("keys are read in place that are not their owner's");
      if (wire.asked_for) throw Fault("two messages of one tag");
      wire.asked_for = true;
      return;
    }
    if (m.slot != kOwn || m.owner != r) throw Fault("a copy is lent");
    if (m.due < std::ssize(rank.schedule->steps)) throw Fault("keys are awaited too early");
    if (wire.from != nullptr) throw Fault("two messages of one tag");
    wire.in_place = true;
    wire.from = &rank.At(Cargo::kKeys, kOwn);
    ++wire.from->sends;
  }

  bool WaitInPlace(int r, Rank& rank, const Action& action) {
    const BlockMessage& m = *action.message;
    Wire& wire = WireOf(r, action);
    if (m.way == Way::kSend) {
      if (!wire.returned) return false;
      --wire.from->sends;
      return true;
    }
    if (wire.from == nullptr) return false;
    if (!wire.in_place) throw Fault("a copy comes for keys that are to be read in place");
    if (m.slot < rank.schedule->keys.slots ||
        m.slot >= rank.schedule->keys.slots + rank.schedule->keys.in_place) {
      throw Fault(fmt::format("slot {}", m.slot));
    }
    rank.borrowed[m.slot] = wire.from;
    rank.reads.push_back(&wire);
    return true;
  }

  bool Wait(int r, Rank& rank, const Action& action) {
    if (action.message->in_place) return WaitInPlace(r, rank, action);
    const Wire& wire = WireOf(r, action);
    if (wire.from == nullptr || wire.to == nullptr) return false;
    Buffer& buffer = rank.At(action.cargo, action.message->slot);
    if (action.message->way == Way::kSend) {
      --buffer.sends;
    } else {
      buffer.receives = false;
    }
    if (action.message->adds) Add(rank, buffer, rank.At(Cargo::kGradients, kOwn), r);
    return true;
  }

  void Fold(int r, Rank& rank, const ScheduleStep& step) {
    Read(rank.KeysAt(step.keys), step.kv_owner);
    ++rank.folds[step.kv_owner];
    Buffer& part = rank.At(Cargo::kGradients, step.part);
    Write(part);
    part.owner = step.kv_owner;
    part.parts = {{r, 1}};
  }

  void Add(Rank&, Buffer& part, Buffer& sum, int owner) {
    Read(part, owner);
    Read(sum, owner);
    Write(sum);
    for (const auto& [rank, times] : part.parts) sum.parts[rank] += times;
  }

  static void Read(const Buffer& buffer, int owner) {
    if (buffer.receives) throw Fault("a buffer is read while it is received into");
    if (buffer.owner != owner) throw Fault("a buffer does not hold what it is read for");
  }
  static void Write(const Buffer& buffer) {
    if (buffer.receives) throw Fault("a buffer is written while it is received into");
    if (buffer.sends > 0) throw Fault("a buffer is written while it is sent");
  }

  bool Wanted(size_t rank, size_t owner) const { return rank == owner || wants_[rank][owner]; }

  void ExpectEnd() {
    for (size_t r = 0; r < ranks_.size(); ++r) {
      Rank& rank = ranks_[r];
      if (rank.gradients[0].owner != static_cast<int>(r)) throw Fault("a gradient is not at home");
      for (size_t other = 0; other < ranks_.size(); ++other) {
        const int id = static_cast<int>(other);
        if (rank.folds[id] != (Wanted(r, other) ? 1 : 0)) {
          throw Fault(
              fmt::format("rank {} folds the keys of {} in {} times", r, other, rank.folds[id]));
        }
        if (rank.gradients[0].parts[id] != (Wanted(other, r) ? 1 : 0)) {
          throw Fault(fmt::format("rank {} misses the part of rank {}", r, other));
        }
      }
      ExpectUse(r);
    }
  }

  // Who receives keys wants them or sends them on.
  void ExpectUse(size_t r) const {
    const std::vector<BlockMessage>& messages = ranks_[r].schedule->keys.messages;
    for (const BlockMessage& m : messages) {
      bool used = m.way == Way::kSend || Wanted(r, static_cast<size_t>(m.owner));
      for (const BlockMessage& other : messages) {
        used = used || (other.way == Way::kSend && other.owner == m.owner);
      }
      if (!used) throw Fault(fmt::format("nobody wants the keys that rank {} gets", r));
    }
  }

  std::vector<Rank> ranks_;
  const WantsTable& wants_;
  const std::vector<int>& memory_nodes_;
  std::map<std::tuple<Cargo, int, int, int>, Wire> wires_;  // by sender, receiver and owner
};

}  // namespace

std::vector<Schedule> SchedulesOf(const ScheduleSpec& spec, const WantsTable& wants) {
  const int ranks = static_cast<int>(wants.size());
  std::vector<Schedule> all;
  for (int rank = 0; rank < ranks; ++rank) {
    all.push_back(MakeSchedule(spec, rank, ranks, [&](int r, int owner) {
      return wants[static_cast<size_t>(r)][static_cast<size_t>(owner)];
    }));
  }
  return all;
}

std::string FaultOf(const std::vector<Schedule>& all, const WantsTable& wants,
                    const std::vector<int>& memory_nodes) {
  try {
    Play(all, wants, memory_nodes).Run();
    return {};
  } catch (const Fault& fault) {
    return fault.what();
  }
}

}  // namespace annulus::parallel
