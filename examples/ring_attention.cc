// Ring attention in one page: four ranks, threads of this process, each hold a share of a sequence,
// run attention forward and backward over all of it, and get what one rank gets alone.
#include "parallel/ring_attention.h"

#include <algorithm>
#include <cmath>
#include <random>

#include "kernels/cpu/cpu_table.h"
#include "kernels/dry/dry_table.h"
#include "parallel/dry_communicator.h"
#include "parallel/local_communicator.h"
#include "runtime/memory/arena.h"

using namespace annulus;  // NOLINT(google-build-using-namespace): for brevity, in an example

constexpr int64_t kTokens = 3004;                // no number of ranks has to divide it
constexpr float kRounding = kTokens * 0x1p-24f;  // of a sum of so many f32 terms of the size of 1
constexpr parallel::AttentionShape kShape{.heads = 4, .kv_heads = 2, .head_dim = 64, .scale = 0.1f};

// One rank's T tokens of every tensor. Keys and values are one tensor: they travel together.
struct Tensors {
  kernels::View q, kv, dout, out, lse, dq, dkv;
};

// Nothing below the runtime allocates: tensors lie on a stack that counts every byte.
Tensors Allocate(kernels::StackMemory& memory, int64_t tokens) {
  const auto tensor = [&](std::initializer_list<int64_t> dims) {
    return memory.Allocate(kernels::DType::kF32, dims, kernels::MemoryCategory::kActivations, "");
  };
  const auto heads = [&] { return tensor({1, tokens, kShape.heads, kShape.head_dim}); };
  const auto keys = [&] { return tensor({2, 1, tokens, kShape.kv_heads * kShape.head_dim}); };
  return {heads(), keys(), heads(), heads(), tensor({1, kShape.heads, tokens}), heads(), keys()};
}

// The program, which cannot tell real tables from dry ones. One block of keys is folded in while
// the next is on its way. No probabilities are kept: backward computes them again.
void Attend(kernels::KernelTable& table, kernels::StackMemory& memory, parallel::Communicator& ring,
            const parallel::Partition& partition, const Tensors& t) {
  kernels::Kernels kernels(table, memory);
  const kernels::Mask causal{.kind = kernels::MaskKind::kCausal, .length = kTokens};
  parallel::RingAttention attention(kernels, memory, ring, partition, {&causal, 1});
  attention.Forward(kShape, t.q, t.kv, t.out, t.lse);
  attention.Backward(kShape, {t.q, t.kv, t.out, t.dout, t.lse}, t.dq, t.dkv);
}

// The bytes that the program needs on this rank: run dry it does no work and takes no time.
int64_t Plan(const kernels::KernelTable& table, const parallel::Partition& partition, int rank) {
  kernels::DryTable dry(table);
  runtime::Arena memory = runtime::Arena::Dry();
  parallel::DryCommunicator ring(rank, partition.ranks());
  Attend(dry, memory, ring, partition, Allocate(memory, partition.local_tokens()));
  return memory.ledger().peak_bytes();
}

// Calls body(element, its counterpart in the whole sequence), but for padding, for the tokens `at`.
template <class Body>
void ForEach(kernels::View local, kernels::View whole, const kernels::Positions& at, Body body) {
  const int64_t tokens = at.tokens(), width = local.size() / (local.dim(0) * tokens);
  for (int64_t i = 0; i < local.size(); ++i) {
    const int64_t half = i / width / tokens, position = at.at(i / width % tokens);
    if (position >= kTokens) continue;
    body(local.As<float>()[i], whole.As<float>()[(half * kTokens + position) * width + i % width]);
  }
}

int main() {
  kernels::CpuTable cpu(/*threads=*/1);
  const parallel::Partition all(parallel::PartitionKind::kContiguous, kTokens, /*ranks=*/1);
  runtime::Arena memory(Plan(cpu, all, 0));
  const Tensors whole = Allocate(memory, kTokens);
  std::minstd_rand random;
  std::normal_distribution<float> normal;
  for (const kernels::View& input : {whole.q, whole.kv, whole.dout}) {
    std::generate_n(input.As<float>(), input.size(), [&] { return normal(random); });
  }
  Attend(cpu, memory, *parallel::LocalGroup(1).Join(0), all, whole);
  fmt::print("one rank: {} bytes\n", memory.ledger().peak_bytes());
  parallel::RunRanks(4, [&](parallel::Communicator& ring) {
    const parallel::Partition zigzag(parallel::PartitionKind::kZigzag, kTokens, ring.size());
    const kernels::Positions at = zigzag.PositionsOf(ring.rank());
    kernels::CpuTable my_cpu(/*threads=*/1);
    runtime::Arena my_memory(Plan(my_cpu, zigzag, ring.rank()));
    const Tensors mine = Allocate(my_memory, zigzag.local_tokens());
    const auto take = [](float& element, float from) { element = from; };
    ForEach(mine.q, whole.q, at, take);
    ForEach(mine.kv, whole.kv, at, take);
    ForEach(mine.dout, whole.dout, at, take);
    Attend(my_cpu, my_memory, ring, zigzag, mine);
    float worst = 0;
    const auto compare = [&](float x, float y) { worst = std::max(worst, std::abs(x - y)); };
    ForEach(mine.out, whole.out, at, compare);
    ForEach(mine.dq, whole.dq, at, compare);
    ForEach(mine.dkv, whole.dkv, at, compare);
    fmt::print("rank {} of {}: {} bytes, {} sent, off by at most {:.1e}\n", ring.rank(),
               ring.size(), my_memory.ledger().peak_bytes(), ring.counters().bytes_sent, worst);
    Check(worst < kRounding, "the ring does not compute what one rank does");
  });
}
