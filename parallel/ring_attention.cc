#include "parallel/ring_attention.h"

#include <array>

namespace annulus::parallel {
namespace {

using kernels::DType;
using kernels::KeyBlock;
using kernels::KeyBlockGradient;
using kernels::MemoryCategory;
using kernels::MemoryScope;
using kernels::Positions;

constexpr int kKeyTag = 0;
constexpr int kGradientTag = 1;

View AllocateLike(kernels::StackMemory& memory, const ConstView& kv, DType dtype,
                  std::string_view owner) {
  return memory.Allocate(dtype, {kv.dim(0), kv.dim(1), kv.dim(2), kv.dim(3)}, MemoryCategory::kRing,
                         owner);
}

// Half 0 holds keys (or dK), half 1 values (or dV).
template <class AnyView>
AnyView Half(const AttentionShape& shape, const AnyView& kv, int half) {
  return kv.Slice(0, half, 1).Reshape({shape.batch, kv.dim(2), shape.kv_heads, shape.head_dim});
}

}  // namespace

// The keys at hand and the next ones on their way. Holds the receive buffers, as many as the
// schedule has exchanges but never more than two: one is read while the other fills.
struct RingAttention::KeyRing {
  KeyRing(RingAttention& ring, const ConstView& own)
      : context(ring.context_), steps(ring.schedule_.steps), at_hand(own) {
    const size_t exchanges = steps.size() - 1;
    for (size_t i = 0; i < std::min<size_t>(exchanges, 2); ++i) {
      buffers[i] = AllocateLike(ring.memory_, own, own.dtype, "keys in flight");
    }
  }

  // Sets the keys of `step` moving on and the next ones coming.
  void Start(size_t step) {
    if (steps[step].send_to < 0) return;
    in_flight = context.Start({.send = at_hand,
                               .to = steps[step].send_to,
                               .receive = buffers[step % 2],
                               .from = steps[step].receive_from,
                               .tag = kKeyTag});
  }

  // The next step's keys become those at hand.
  void Advance(size_t step) {
    if (steps[step].send_to < 0) return;
    in_flight.Wait();
    at_hand = buffers[step % 2];
  }

  Communicator& context;
  const std::vector<ScheduleStep>& steps;
  ConstView at_hand;
  std::array<View, 2> buffers;
  Transfer in_flight;  // last: completes before the buffers go
};

RingAttention::RingAttention(kernels::Kernels& kernels, kernels::StackMemory& memory,
                             Communicator& context, const Partition& partition,
                             std::span<const kernels::Mask> masks)
    : kernels_(kernels),
      memory_(memory),
      context_(context),
      partition_(partition),
      masks_(masks),
      queries_(partition.PositionsOf(context.rank())),
      schedule_(RingSchedule(context.rank(), context.size())) {
  Check(partition.ranks() == context.size(), "a partition over {} ranks in a group of {}",
        partition.ranks(), context.size());
  Check(!masks.empty(), "an attention without a mask");
  for (const kernels::Mask& mask : masks) {
    Check(mask.length == partition.length(), "a mask of {} tokens over a sequence of {}",
          mask.length, partition.length());
  }
}

std::vector<RingAttention::Group> RingAttention::GroupsOf(const AttentionShape& shape) const {
  if (masks_.size() == 1) return {{masks_[0], 0, shape.batch}};
  Check(std::ssize(masks_) == shape.batch, "{} masks for {} sequences", masks_.size(), shape.batch);
  std::vector<Group> groups;
  for (int64_t b = 0; b < shape.batch; ++b)
    groups.push_back({masks_[static_cast<size_t>(b)], b, 1});
  return groups;
}

kernels::AttentionProblem RingAttention::ProblemOf(const AttentionShape& shape, const Group& group,
                                                   DType dtype) const {
  return {.batch = group.count,
          .heads = shape.heads,
          .kv_heads = shape.kv_heads,
          .head_dim = shape.head_dim,
          .scale = shape.scale,
          .dtype = dtype,
          .queries = queries_,
          .mask = group.mask};
}

KeyBlock RingAttention::BlockOf(const AttentionShape& shape, const Group& group,
                                const ConstView& kv, const Positions& positions) {
  return {group.Of(Half(shape, kv, 0)), group.Of(Half(shape, kv, 1)), positions};
}

KeyBlockGradient RingAttention::GradientOf(const AttentionShape& shape, const Group& group,
                                           const View& dkv) {
  return {group.Of(Half(shape, dkv, 0)), group.Of(Half(shape, dkv, 1))};
}

std::vector<size_t> RingAttention::Attending(const std::vector<Group>& groups,
                                             const Positions& keys) const {
  const auto attends = [&](const kernels::Mask& mask) {
    for (int i = 0; i < queries_.runs(); ++i) {
      for (int j = 0; j < keys.runs(); ++j) {
        if (mask.Classify(queries_.run(i), keys.run(j)) != kernels::Coverage::kSkip) return true;
      }
    }
    return false;
  };
  std::vector<size_t> attending;
  for (size_t g = 0; g < groups.size(); ++g) {
    if (attends(groups[g].mask)) attending.push_back(g);
  }
  return attending;
}

void RingAttention::Forward(const AttentionShape& shape, ConstView q, ConstView kv, View out,
                            View lse) {
  MemoryScope scope(memory_);
  const std::vector<Group> groups = GroupsOf(shape);
  std::vector<kernels::AttentionForwardArgs> attentions;
  for (const Group& group : groups) {
    attentions.push_back(
        kernels_.AttentionForwardBegin(ProblemOf(shape, group, q.dtype), group.Of(q)));
  }
  KeyRing ring(*this, kv);
  for (size_t step = 0; step < schedule_.steps.size(); ++step) {
    const Positions keys = partition_.PositionsOf(schedule_.steps[step].kv_owner);
    ring.Start(step);
    for (const size_t g : Attending(groups, keys)) {
      kernels_.AttentionForwardFold(attentions[g], BlockOf(shape, groups[g], ring.at_hand, keys));
    }
    ring.Advance(step);
  }
  for (size_t g = 0; g < groups.size(); ++g) {
    kernels_.AttentionForwardFinish(attentions[g], groups[g].Of(out), groups[g].Of(lse));
  }
}

void RingAttention::Backward(const AttentionShape& shape, const BackwardInputs& inputs, View dq,
                             View dkv) {
  MemoryScope scope(memory_);
  const std::vector<Group> groups = GroupsOf(shape);
  std::vector<kernels::AttentionBackwardArgs> attentions;
  for (const Group& group : groups) {
    attentions.push_back(kernels_.AttentionBackwardBegin(
        ProblemOf(shape, group, inputs.q.dtype),
        {group.Of(inputs.q), group.Of(inputs.out), group.Of(inputs.dout), group.Of(inputs.lse)}));
  }
  const size_t steps = schedule_.steps.size();
  const bool travels = steps > 1;

  // sums[step % 2] gathers the gradient of the step's keys; `dkv` holds this rank's part of it
  // until it is added, and in the end receives its own sum from the last rank that held its keys.
  std::array<View, 2> sums;
  if (travels) {
    for (View& sum : sums) sum = AllocateLike(memory_, dkv, DType::kF32, "key gradients in flight");
  }
  KeyRing ring(*this, inputs.kv);
  Transfer gradient;
  for (size_t step = 0; step < steps; ++step) {
    const ScheduleStep& plan = schedule_.steps[step];
    const Positions keys = partition_.PositionsOf(plan.kv_owner);
    const bool first = step == 0;
    const View part = travels && first ? sums[0] : dkv;
    const std::vector<size_t> attending = Attending(groups, keys);
    ring.Start(step);
    if (first || !attending.empty()) kernels_.Zero(part);
    for (const size_t g : attending) {
      kernels_.AttentionBackwardFold(attentions[g], BlockOf(shape, groups[g], ring.at_hand, keys),
                                     GradientOf(shape, groups[g], part));
    }
    gradient.Wait();
    if (!first && !attending.empty()) kernels_.Add({.x = part, .y = sums[step % 2]});
    if (travels) {
      const bool last = step + 1 == steps;
      gradient = context_.Start({.send = sums[step % 2],
                                 .to = last ? schedule_.home_to : plan.send_to,
                                 .receive = last ? dkv : sums[(step + 1) % 2],
                                 .from = last ? schedule_.home_from : plan.receive_from,
                                 .tag = kGradientTag});
    }
    ring.Advance(step);
  }
  for (size_t g = 0; g < groups.size(); ++g) {
    kernels_.AttentionBackwardFinish(attentions[g], groups[g].Of(dq));
  }
  gradient.Wait();
}

}  // namespace annulus::parallel
