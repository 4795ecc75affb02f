// Which buffer holds what: the intervals in which blocks need one are coloured greedily in the
// order of their begin, which takes as few colours as blocks overlap at once.
#include <algorithm>
#include <limits>
#include <map>

#include "parallel/schedule_kinds.h"

namespace annulus::parallel {
namespace {

using Way = BlockMessage::Way;

constexpr int kForever = std::numeric_limits<int>::max();

// A buffer is held from what starts at point `begin`, or from the fold after it, until what is due
// at point `end` is complete. At a point, what ends makes room for what begins.
struct Tenancy {
  int begin = kForever;
  int end = 0;
  std::vector<int*> slots = {};  // who is told which buffer it is
  int colour = 0;

  void Hold(int from, int to, int& slot) {
    begin = std::min(begin, from);
    HoldUntil(to, slot);
  }
  void HoldUntil(int to, int& slot) {
    end = std::max(end, to);
    slots.push_back(&slot);
  }
};

// Returns the number of colours.
int Colour(std::vector<Tenancy*> tenancies) {
  std::stable_sort(tenancies.begin(), tenancies.end(),
                   [](const Tenancy* a, const Tenancy* b) { return a->begin < b->begin; });
  std::vector<int> free_at;  // by colour
  for (Tenancy* tenancy : tenancies) {
    const auto free = std::find_if(free_at.begin(), free_at.end(),
                                   [&](int end) { return end <= tenancy->begin; });
    tenancy->colour = static_cast<int>(free - free_at.begin());
    if (free == free_at.end()) {
      free_at.push_back(tenancy->end);
    } else {
      *free = tenancy->end;
    }
  }
  return static_cast<int>(free_at.size());
}

// Returns the number of slots.
int AssignColours(const std::vector<Tenancy*>& tenancies) {
  const int colours = Colour(tenancies);
  for (const Tenancy* tenancy : tenancies) {
    for (int* slot : tenancy->slots) *slot = tenancy->colour;
  }
  return colours;
}

void AssignKeySlots(int rank, Schedule& schedule) {
  std::map<int, Tenancy> blocks;  // by owner; own keys need no buffer
  for (BlockMessage& message : schedule.keys.messages) {
    if (message.owner == rank || message.in_place) continue;
    blocks[message.owner].Hold(message.start, message.due, message.slot);
  }
  for (int step = 0; step < std::ssize(schedule.steps); ++step) {
    ScheduleStep& fold = schedule.steps[static_cast<size_t>(step)];
    const auto block = blocks.find(fold.kv_owner);
    if (block != blocks.end()) block->second.HoldUntil(step + 1, fold.keys);
  }
  std::vector<Tenancy*> tenancies;
  for (auto& [owner, block] : blocks) tenancies.push_back(&block);
  schedule.keys.slots = AssignColours(tenancies);
}

// Blocks that are read in place are numbered behind the buffers.
void NumberBlocksInPlace(int rank, Schedule& schedule) {
  std::map<int, int> slots;  // by owner
  for (BlockMessage& message : schedule.keys.messages) {
    if (!message.in_place || message.owner == rank) continue;
    message.slot = slots[message.owner] = schedule.keys.slots + schedule.keys.in_place++;
  }
  for (ScheduleStep& fold : schedule.steps) {
    const auto slot = slots.find(fold.kv_owner);
    if (slot != slots.end()) fold.keys = slot->second;
  }
}

// The sums that pass this rank, its parts of them, and what comes home. The own gradient lies in
// the own tensor all the time.
struct GradientTenancies {
  GradientTenancies(int rank, Schedule& schedule) {
    for (BlockMessage& message : schedule.gradients.messages) {
      if (message.way == Way::kSend) {
        sums[message.owner].HoldUntil(message.due, message.slot);
      } else if (message.adds) {
        transient.emplace_back().Hold(message.start, message.due, message.slot);
      } else {
        sums[message.owner].Hold(message.start, message.due, message.slot);
      }
    }
    for (int step = 0; step < std::ssize(schedule.steps); ++step) {
      ScheduleStep& fold = schedule.steps[static_cast<size_t>(step)];
      if (fold.kv_owner == kNobody || fold.kv_owner == rank) continue;
      Tenancy& sum = sums[fold.kv_owner];
      if (sum.begin == kForever) {  // it did not arrive: it begins here
        sum.Hold(step - 1, sum.end, fold.part);
      } else {
        transient.emplace_back().Hold(step - 1, step, fold.part);
      }
      sum.HoldUntil(step, fold.sum);
    }
  }

  std::vector<Tenancy*> All() {
    std::vector<Tenancy*> all;
    for (auto& [owner, sum] : sums) all.push_back(&sum);
    for (Tenancy& tenancy : transient) all.push_back(&tenancy);
    return all;
  }

  std::map<int, Tenancy> sums;  // by owner
  std::vector<Tenancy> transient;
};

}  // namespace

void AssignSlots(int rank, Schedule& schedule) {
  for (BlockStream* stream : {&schedule.keys, &schedule.gradients}) {
    std::stable_sort(
        stream->messages.begin(), stream->messages.end(),
        [](const BlockMessage& a, const BlockMessage& b) { return a.start < b.start; });
  }
  AssignKeySlots(rank, schedule);
  NumberBlocksInPlace(rank, schedule);
  GradientTenancies gradients(rank, schedule);
  schedule.gradients.slots = AssignColours(gradients.All());
}

}  // namespace annulus::parallel
