// Who attends to whose keys, in which order, and what travels meanwhile: a schedule is data.
//
// One driver (ring_attention.h) runs every schedule, forward and backward. Each rank makes its own
// from what all know, and all of them fit together: what one sends, another receives.
//
// Time is counted in steps, one for each rank of the group; a rank without work idles through its
// step. In step s a rank folds in the keys of one owner. Keys leave and arrive at the beginning of
// a step, gradients after the fold: at its point s, a stream first completes the messages that are
// due at s, then starts those that start at s. So whatever starts at s and is due at s+1 travels
// during a fold.
//
// Where the owner's memory can be read, its keys stay where they are: such a message says at the
// start that they are there, and nothing travels. It is due at the reader in the step that folds
// them in, and at the owner after the last one, when all have read them.
//
// No schedule can block: both sides of a message start it earlier than either awaits it, in steps
// that are numbered alike on all ranks.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

namespace annulus::parallel {

enum class ScheduleKind : uint8_t {
  kRing,        // keys go from neighbour to neighbour (Liu et al. 2023)
  kAllGather,   // keys go straight to whoever wants them (Llama 3, Dubey et al. 2024)
  kDoubleRing,  // a ring inside each node, and a ring of nodes (LoongTrain, Gu et al. 2024)
};

// "ring", "all-gather", "double-ring".
std::string_view NameOf(ScheduleKind kind);

struct ScheduleSpec {
  ScheduleKind kind = ScheduleKind::kRing;
  // kDoubleRing: the ranks of a node, which follow each other. Must divide the ranks.
  int inner = 1;
  // kAllGather: how many blocks of keys a rank has room for. 0: as many as it wants, and all are
  // under way from the start; 2 are the least that lets one arrive while another is read.
  int blocks_in_flight = 0;
  // Ranks with equal numbers, by rank, read each other's keys in place; empty: none do.
  std::vector<int> memory_nodes = {};

  bool InPlace(int rank, int owner) const {
    return rank != owner && !memory_nodes.empty() &&
           memory_nodes[static_cast<size_t>(rank)] == memory_nodes[static_cast<size_t>(owner)];
  }
};

inline constexpr int kNobody = -1;
// The slot that is the rank's own tensor: its keys, or the gradient of its keys.
inline constexpr int kOwn = -1;

struct ScheduleStep {
  // The rank whose keys are folded in; kNobody: this step is idle.
  int kv_owner = kNobody;
  // The slot that these keys are read from.
  int keys = kOwn;
  // The slot of gradients in which this rank makes its part of theirs, from zero.
  int part = kOwn;
  // The slot of gradients that the part is added to after the fold; `part` itself where this rank
  // begins the sum.
  int sum = kOwn;

  bool operator==(const ScheduleStep&) const = default;
};

// One block on its way between this rank and a peer.
struct BlockMessage {
  enum class Way : uint8_t { kSend, kReceive };

  Way way = Way::kSend;
  int peer = kNobody;
  // Whose keys these are, or whose keys' gradient. Tells apart the messages of a pair of ranks.
  int owner = kNobody;
  int start = 0;
  // When it is complete and, if `adds`, added: see above. The number of steps: after the last one.
  int due = 0;
  // What arrives is of the gradient of this rank's own keys, and is added to it.
  bool adds = false;
  int slot = kOwn;
  // The receiver reads the sender's own tensor where it lies, and `slot` stands for it there.
  bool in_place = false;

  bool operator==(const BlockMessage&) const = default;
};

struct BlockStream {
  std::vector<BlockMessage> messages;  // in the order of their start
  int slots = 0;                       // buffers of one block that it needs beside the own tensor
  int in_place = 0;                    // slots from `slots` on that stand for tensors of peers

  bool operator==(const BlockStream&) const = default;
};

struct Schedule {
  std::vector<ScheduleStep> steps;  // one for each rank; the first one's keys are this rank's own
  BlockStream keys;
  BlockStream gradients;  // in backward only
  // In backward a part of the own keys is folded in after the last step: a gradient comes home then
  // and would find nothing to hide behind.
  bool own_keys_last = false;

  bool operator==(const Schedule&) const = default;
};

// `wants(rank, owner)`: whether any query of `rank` attends to any key of `owner`; a pure function,
// the same on every rank. Keys are sent only where the receiver, or a rank that it sends them on
// to, wants them. The gradient of a block goes from its first reader on where the block went and
// then home, where the owner's own part has stayed. Throws ConfigError when a double ring's `inner`
// does not divide `ranks`.
Schedule MakeSchedule(const ScheduleSpec& spec, int rank, int ranks,
                      const std::function<bool(int rank, int owner)>& wants);

}  // namespace annulus::parallel
