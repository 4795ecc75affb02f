#include "tests/parallel/ring_case.h"

#include <cmath>
#include <limits>
#include <mutex>
#include <string_view>

#include "kernels/base/bfloat16.h"
#include "kernels/cpu/cpu_table.h"
#include "kernels/dry/dry_table.h"
#include "parallel/dry_communicator.h"
#include "parallel/local_communicator.h"
#include "runtime/memory/arena.h"

namespace annulus::parallel {
namespace {

using kernels::DType;
using kernels::MemoryCategory;

// Ranks compute on one thread or on two: results may not depend on it. ThreadSanitizer does not see
// the barriers of GCC's OpenMP and would take what they order for races.
#ifdef __SANITIZE_THREAD__
constexpr int kMostThreads = 1;
#else
constexpr int kMostThreads = 2;
#endif

// What padding tokens hold: finite, and ruinous wherever it leaks.
constexpr float kPadding = 1e3f;

// Where documents start in the first sequence of a batch and in the second, of any length.
const std::vector<int64_t> kFirstStarts = {0, 1, 40, 41, 42, 130};
const std::vector<int64_t> kSecondStarts = {0, 90};

// One mask for all sequences, or one for each where documents are masked.
std::vector<kernels::Mask> MasksOf(const RingCase& c) {
  const kernels::Mask mask{.kind = c.mask,
                           .length = c.length,
                           .window = c.length / 4 + 1,
                           .blocks = {.block_tokens = 10, .window_blocks = 1, .random_blocks = 2}};
  if (c.mask != kernels::MaskKind::kDocuments) return {mask};
  std::vector<kernels::Mask> masks(kBatch, mask);
  masks[0].document_starts = kFirstStarts;
  masks[1].document_starts = kSecondStarts;
  return masks;
}

// Copies the rows of `positions` between a whole tensor [B,n,width] and a local one [B,T,width].
struct Shard {
  const kernels::Positions& positions;
  int64_t length;
  int64_t width;

  void Take(const std::vector<float>& whole, float* local) const {
    ForEachRow([&](int64_t from, int64_t to, bool padding) {
      for (int64_t i = 0; i < width; ++i) {
        local[to + i] = padding ? kPadding : whole[static_cast<size_t>(from + i)];
      }
    });
  }
  void Put(const float* local, std::vector<float>& whole) const {
    ForEachRow([&](int64_t at, int64_t from, bool padding) {
      for (int64_t i = 0; i < width && !padding; ++i) {
        whole[static_cast<size_t>(at + i)] = local[from + i];
      }
    });
  }

 private:
  template <class Body>
  void ForEachRow(Body body) const {
    const int64_t tokens = positions.tokens();
    for (int64_t b = 0; b < kBatch; ++b) {
      for (int64_t t = 0; t < tokens; ++t) {
        const int64_t position = positions.at(t);
        body((b * length + position) * width, (b * tokens + t) * width, position >= length);
      }
    }
  }
};

// The elements of a tensor of f32 or bf16, and back.
std::vector<float> Read(const View& view) {
  std::vector<float> values;
  for (int64_t i = 0; i < view.size(); ++i) {
    values.push_back(view.dtype == DType::kF32 ? view.As<float>()[i]
                                               : ToFloat(view.As<kernels::BFloat16>()[i]));
  }
  return values;
}
void Write(const std::vector<float>& values, const View& view) {
  for (int64_t i = 0; i < view.size(); ++i) {
    const float value = values[static_cast<size_t>(i)];
    if (view.dtype == DType::kF32) {
      view.As<float>()[i] = value;
    } else {
      view.As<kernels::BFloat16>()[i] = kernels::ToBFloat16(value);
    }
  }
}

int ThreadsOf(int rank) { return 1 + rank % kMostThreads; }

// One rank's share of every tensor. Held ones are the local ones where no heads are exchanged.
struct Tensors {
  View q, out, dout, dq, kv, dkv, held_q, held_kv, held_lse;
};

Tensors Allocate(kernels::StackMemory& memory, const RingCase& c, const ContextGroup& group,
                 const AttentionShape& shape) {
  const auto tensor = [&](DType dtype, std::initializer_list<int64_t> dims,
                          kernels::Reach reach = kernels::Reach::kRank) {
    return memory.Allocate(dtype, dims, MemoryCategory::kActivations, "test", reach);
  };
  const int64_t tokens = c.MakePartition().local_tokens();
  const auto heads = [&] { return tensor(c.dtype, {kBatch, tokens, c.heads, kHeadDim}); };
  const auto keys = [&](DType dtype, kernels::Reach reach) {
    return tensor(dtype, {2, kBatch, tokens, c.kv_heads * kHeadDim}, reach);
  };
  Tensors t{.q = heads(),
            .out = heads(),
            .dout = heads(),
            .dq = heads(),
            .kv = keys(c.dtype, kernels::Reach::kNode),
            .dkv = keys(DType::kF32, kernels::Reach::kRank),
            .held_q = {},
            .held_kv = {},
            .held_lse = {}};
  const AttentionShape held = HeldBy(group, shape);
  const int64_t held_tokens = c.MakePartition().OfMembers().local_tokens();
  t.held_q = t.q;
  t.held_kv = t.kv;
  if (c.ulysses > 1) {
    t.held_q = tensor(c.dtype, {kBatch, held_tokens, held.heads, kHeadDim});
    t.held_kv =
        tensor(c.dtype, {2, kBatch, held_tokens, held.kv_heads * kHeadDim}, kernels::Reach::kNode);
  }
  t.held_lse = tensor(DType::kF32, {kBatch, held.heads, held_tokens});
  return t;
}

// The program that is run and run dry.
struct Program {
  const Whole& whole;
  const RingCase& c;
  const ScheduleSpec& schedule;
  runtime::Arena& arena;
  const ContextGroup& group;
};

int64_t MostBytesOf(const runtime::Arena& arena, std::string_view owner) {
  for (const runtime::Ledger::Line& line : arena.ledger().lines()) {
    if (line.owner == owner) return line.own_peak_bytes;
  }
  return 0;
}

RankCost Attend(const Program& p, kernels::KernelTable& table, const Tensors& t) {
  kernels::Kernels kernels(table, p.arena);
  const Partition partition = p.c.MakePartition();
  ContextAttention attention({kernels, p.arena, p.group, partition, p.whole.masks, p.schedule},
                             p.whole.shape);
  const auto top = p.arena.Top();
  attention.TakeHeads(t.q, t.kv, t.held_q, t.held_kv);
  attention.Forward(t.held_q, t.held_kv, t.out, t.held_lse);
  attention.Backward({.held_q = t.held_q,
                      .held_kv = t.held_kv,
                      .out = t.out,
                      .dout = t.dout,
                      .held_lse = t.held_lse},
                     t.dq, t.dkv);
  Check(p.arena.Top() == top, "attention left something on the stack");
  return {.bytes_sent = p.group.all().all_counters().bytes_sent,
          .messages = p.group.all().all_counters().messages,
          .peak_bytes = p.arena.ledger().peak_bytes(),
          .flops = kernels.counters()[kernels::KernelClass::kAttention].flops,
          .key_slots_bytes = MostBytesOf(p.arena, "keys in flight"),
          .gradient_slots_bytes = MostBytesOf(p.arena, "key gradients in flight")};
}

// Fills the inputs of a rank, and what is to be overwritten with NaN.
void TakeInputs(const Whole& whole, const Shard& queries, const Shard& keys, const Tensors& t) {
  for (const View& view : {t.held_q, t.held_kv, t.out, t.dq, t.dkv, t.held_lse}) {
    Write(std::vector<float>(static_cast<size_t>(view.size()), NAN), view);
  }
  std::vector<float> rows(static_cast<size_t>(t.q.size()));
  queries.Take(whole.inputs.q, rows.data());
  Write(rows, t.q);
  queries.Take(whole.dout, rows.data());
  Write(rows, t.dout);
  rows.resize(static_cast<size_t>(t.kv.size()));
  keys.Take(whole.inputs.k, rows.data());
  keys.Take(whole.inputs.v, rows.data() + t.kv.size() / 2);
  Write(rows, t.kv);
}

void PutResults(const Shard& queries, const Shard& keys, const Tensors& t, RingResults& results) {
  queries.Put(Read(t.out).data(), results.out);
  queries.Put(Read(t.dq).data(), results.dq);
  keys.Put(t.dkv.As<float>(), results.dk);
  keys.Put(t.dkv.As<float>() + t.dkv.size() / 2, results.dv);
}

// The log-sum-exps of the heads and tokens that a rank holds.
void PutLse(const RingCase& c, const ContextGroup& group, const View& lse, RingResults& results) {
  const kernels::Positions positions =
      c.MakePartition().OfMembers().PositionsOf(group.ring().rank());
  const Share heads = ShareOf(c.heads, group.ulysses().rank(), c.ulysses);
  const auto* value = lse.As<float>();
  for (int64_t b = 0; b < kBatch; ++b) {
    for (int64_t h = heads.begin; h < heads.end; ++h) {
      for (int64_t i = 0; i < positions.tokens(); ++i, ++value) {
        const int64_t row = b * c.heads + h, position = positions.at(i);
        if (position >= c.length) continue;
        results.lse[static_cast<size_t>(row * c.length + position)] = *value;
      }
    }
  }
}

}  // namespace

std::vector<ScheduleSpec> SchedulesFor(int ranks) {
  std::vector<ScheduleSpec> schedules = {{.kind = ScheduleKind::kRing},
                                         {.kind = ScheduleKind::kAllGather}};
  // With fewer ranks it is the same as without a bound.
  if (ranks > 3) {
    schedules.push_back({.kind = ScheduleKind::kAllGather, .blocks_in_flight = 2});
  }
  for (int inner = 2; inner < ranks; ++inner) {
    if (ranks % inner == 0) schedules.push_back({ScheduleKind::kDoubleRing, inner});
  }
  return schedules;
}

std::string Describe(const ScheduleSpec& schedule) {
  return fmt::format("{}, {} to a node, {} blocks in flight", NameOf(schedule.kind), schedule.inner,
                     schedule.blocks_in_flight);
}

Whole::Whole(const RingCase& c)
    : length(c.length),
      shape{.batch = kBatch,
            .heads = c.heads,
            .kv_heads = c.kv_heads,
            .head_dim = kHeadDim,
            .scale = 1 / std::sqrt(static_cast<float>(kHeadDim))},
      masks(MasksOf(c)) {
  const kernels::Positions all({0, 1, length});
  inputs = reference::RandomAttentionInputs({.batch = kBatch,
                                             .heads = c.heads,
                                             .kv_heads = c.kv_heads,
                                             .head_dim = kHeadDim,
                                             .scale = shape.scale,
                                             .dtype = c.dtype,
                                             .queries = all,
                                             .mask = masks[0]},
                                            all, static_cast<uint32_t>(length * 31 + c.ranks));
  dout = reference::RandomNormal(inputs.query_elements(), 77);
  reference::RoundTo(c.dtype, &dout);
}

RingResults::RingResults(const Whole& w, int ranks)
    : out(w.dout.size(), NAN),
      lse(static_cast<size_t>(w.shape.batch * w.shape.heads * w.length), NAN),
      dq(w.dout.size(), NAN),
      dk(w.inputs.k.size(), NAN),
      dv(w.inputs.k.size(), NAN),
      cost(static_cast<size_t>(ranks)) {}
void RunRingRank(const Whole& whole, const RingCase& c, const ScheduleSpec& schedule,
                 Communicator& context, int64_t memory_bytes, RingResults& results) {
  static std::mutex mutex;
  context.ShareMemory(c.MemoryNodes());
  runtime::Arena arena({memory_bytes, memory_bytes, memory_bytes}, context);
  kernels::CpuTable table(ThreadsOf(context.rank()));
  const ContextGroup group(context, c.ulysses);
  const Tensors tensors = Allocate(arena, c, group, whole.shape);
  const kernels::Positions positions = c.MakePartition().PositionsOf(context.rank());
  const Shard queries{positions, c.length, c.heads * kHeadDim};
  const Shard keys{positions, c.length, c.kv_heads * kHeadDim};
  TakeInputs(whole, queries, keys, tensors);
  const RankCost cost = Attend({whole, c, schedule, arena, group}, table, tensors);
  const std::lock_guard lock(mutex);
  results.cost[static_cast<size_t>(context.rank())] = cost;
  PutResults(queries, keys, tensors, results);
  PutLse(c, group, tensors.held_lse, results);
  results.peer_bytes_mapped = std::max(results.peer_bytes_mapped, arena.peer_bytes_mapped());
}

RingResults RunRing(const Whole& whole, const RingCase& c, const ScheduleSpec& schedule,
                    const RankSetup& setup) {
  RingResults results(whole, c.ranks);
  RunRanks(c.ranks, [&](Communicator& context) {
    const int rank = context.rank();
    if (setup.before) setup.before(rank);
    const int64_t memory_bytes = setup.memory_bytes ? setup.memory_bytes(rank) : int64_t{64} << 20;
    RunRingRank(whole, c, schedule, context, memory_bytes, results);
  });
  return results;
}

RankCost RunRingDry(const Whole& whole, const RingCase& c, const ScheduleSpec& schedule, int rank) {
  const kernels::CpuTable modelled(ThreadsOf(rank));
  kernels::DryTable table(modelled);
  runtime::Arena arena = runtime::Arena::Dry();
  DryCommunicator context(rank, c.ranks);
  context.ShareMemory(c.MemoryNodes());
  const ContextGroup group(context, c.ulysses);
  const Tensors tensors = Allocate(arena, c, group, whole.shape);
  return Attend({whole, c, schedule, arena, group}, table, tensors);
}

std::vector<RingCase> WithNodes(const std::vector<RingCase>& cases) {
  std::vector<RingCase> all;
  int next = 0;
  for (RingCase c : cases) {
    all.push_back(c);
    if (c.ranks == 1) continue;
    // Sizes from 2 up, and every other time all.
    c.node = next++ % 2 == 0 ? c.ranks : 2 + next / 2 % (c.ranks - 1);
    all.push_back(c);
  }
  return all;
}

std::vector<RingCase> ForThisBuild(const std::vector<RingCase>& cases) {
#if defined(__SANITIZE_THREAD__)
  constexpr size_t kOneIn = 10;
#elif defined(__SANITIZE_ADDRESS__)
  constexpr size_t kOneIn = 3;
#else
  constexpr size_t kOneIn = 1;
#endif
  std::vector<RingCase> some;
  for (size_t i = 0; i < cases.size(); ++i) {
    if ((i * 2654435761u >> 16) % kOneIn == 0) some.push_back(cases[i]);
  }
  return some;
}

}  // namespace annulus::parallel
