#include "runtime/bench/ring_workload.h"

#include <algorithm>
#include <cmath>

#include "kernels/dry/dry_table.h"
#include "parallel/dry_communicator.h"
#include "runtime/config/strategy.h"

namespace annulus::runtime {
namespace {

using kernels::DType;
using kernels::MemoryCategory;
using kernels::View;

parallel::AttentionShape ShapeOf(const AttentionCase& attention) {
  return {.batch = attention.batch,
          .heads = attention.heads,
          .kv_heads = attention.kv_heads,
          .head_dim = attention.head_dim,
          .scale = 1.0f / std::sqrt(static_cast<float>(attention.head_dim))};
}

void TakeSlower(const PassForecast& rank, PassForecast& all) {
  if (rank.times.total_s() > all.times.total_s()) all.times = rank.times;
  all.bytes_sent += rank.bytes_sent;
}

}  // namespace

RingWorkload::RingWorkload(const RingCase& ring, const WorkloadContext& context,
                           parallel::Communicator& communicator)
    : context_(context),
      mask_(MakeBenchMask(ring.attention.mask, ring.attention.n, ring.attention.window)),
      group_(communicator, ring.parallel.ulysses_size),
      partition_(PartitionOf(ring.parallel, ring.attention.n, communicator.size())),
      shape_(ShapeOf(ring.attention)),
      attention_({.kernels = context.kernels,
                  .memory = context.memory,
                  .group = group_,
                  .partition = partition_,
                  .masks = {&mask_.mask, 1},
                  .schedule = ScheduleOf(ring.parallel)},
                 shape_),
      pair_features_(shape_.batch * shape_.heads * shape_.head_dim * AllowedPairs(mask_.mask)) {
  const int64_t tokens = partition_.local_tokens();
  const DType dtype = ring.attention.dtype;
  const auto allocate = [&](DType of, std::initializer_list<int64_t> dims,
                            kernels::Reach reach = kernels::Reach::kRank) {
    return context.memory.Allocate(of, dims, MemoryCategory::kActivations, "attention", reach);
  };
  q_ = allocate(dtype, {shape_.batch, tokens, shape_.heads, shape_.head_dim});
  kv_ = allocate(dtype, {2, shape_.batch, tokens, shape_.kv_heads * shape_.head_dim},
                 kernels::Reach::kNode);
  out_ = allocate(dtype, {shape_.batch, tokens, shape_.heads, shape_.head_dim});
  const parallel::AttentionShape held = HeldBy(group_, shape_);
  const int64_t held_tokens = tokens * group_.ulysses_size();
  held_lse_ = allocate(DType::kF32, {held.batch, held.heads, held_tokens});
  if (!attention_.exchanges()) {
    held_q_ = q_;
    held_kv_ = kv_;
    return;
  }
  held_q_ = allocate(dtype, {held.batch, held_tokens, held.heads, held.head_dim});
  held_kv_ = allocate(dtype, {2, held.batch, held_tokens, held.kv_heads * held.head_dim},
                      kernels::Reach::kNode);
}

void RingWorkload::Fill() {
  FillRandom(context_.kernels, q_, 1);
  FillRandom(context_.kernels, kv_, 2);
}

void RingWorkload::Forward() {
  attention_.TakeHeads(q_, kv_, held_q_, held_kv_);
  attention_.Forward(held_q_, held_kv_, out_, held_lse_);
}

void RingWorkload::PrepareBackward() {
  const auto allocate = [&](DType dtype, const View& like) {
    return context_.memory.Allocate(dtype, {like.dim(0), like.dim(1), like.dim(2), like.dim(3)},
                                    MemoryCategory::kActivations, "attention gradient");
  };
  dout_ = allocate(out_.dtype, out_);
  dq_ = allocate(q_.dtype, q_);
  dkv_ = allocate(DType::kF32, kv_);
  context_.kernels.Copy(out_, dout_);
}

void RingWorkload::Backward() {
  attention_.Backward(
      {.held_q = held_q_, .held_kv = held_kv_, .out = out_, .dout = dout_, .held_lse = held_lse_},
      dq_, dkv_);
}

RingForecast ForecastRank(const RingCase& ring, const kernels::KernelTable& table, int rank,
                          int ranks, const MachineModel* machine) {
  kernels::DryClock clock(machine == nullptr ? nullptr : &machine->compute);
  kernels::DryTable dry(table, &clock);
  Arena arena = Arena::Dry();
  kernels::Kernels kernels(dry, arena);
  parallel::LinkClock links(clock, machine == nullptr ? nullptr : &machine->network, rank);
  parallel::DryCommunicator communicator(ranks, links);
  communicator.ShareMemory(ring.sharing.nodes);
  RingWorkload workload(ring, {kernels, arena}, communicator);
  const auto pass = [&](const auto& work) {
    const kernels::DryTimes before = clock.times();
    const int64_t sent_before = communicator.all_counters().bytes_sent;
    work();
    return PassForecast{.times = clock.times() - before,
                        .bytes_sent = communicator.all_counters().bytes_sent - sent_before};
  };
  RingForecast forecast;
  forecast.forward = pass([&] { workload.Forward(); });
  workload.PrepareBackward();
  forecast.backward = pass([&] { workload.Backward(); });
  forecast.memory = SizeOf(arena.ledger());
  return forecast;
}

RingForecast ForecastRing(const RingCase& ring, const kernels::KernelTable& table, int ranks,
                          const MachineModel* machine) {
  if (machine != nullptr) machine->CheckLinks(ranks);
  RingForecast all;
  for (int rank = 0; rank < ranks; ++rank) {
    const RingForecast one = ForecastRank(ring, table, rank, ranks, machine);
    TakeSlower(one.forward, all.forward);
    TakeSlower(one.backward, all.backward);
  }
  return all;
}

}  // namespace annulus::runtime
