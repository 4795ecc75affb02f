#include "parallel/ring_attention.h"

#include <algorithm>
#include <array>
#include <exception>

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
constexpr int kHomeTag = 2;

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

// Looks after the group's exchanges while a kernel computes. What fails meanwhile is thrown by
// Finish, for a kernel cannot be left halfway.
class Attendant {
 public:
  explicit Attendant(Communicator& context) : context_(context) {}

  kernels::Meanwhile meanwhile() {
    return [this]() noexcept {
      if (failure_) return;
      try {
        context_.Progress();
      } catch (...) {
        failure_ = std::current_exception();
      }
    };
  }
  void Finish() const {
    if (failure_) std::rethrow_exception(failure_);
  }

 private:
  Communicator& context_;
  std::exception_ptr failure_;
};

bool AttendsTo(const kernels::Mask& mask, const Positions& queries, const Positions& keys) {
  for (int i = 0; i < queries.runs(); ++i) {
    for (int j = 0; j < keys.runs(); ++j) {
      if (mask.Classify(queries.run(i), keys.run(j)) != kernels::Coverage::kSkip) return true;
    }
  }
  return false;
}

}  // namespace

// The keys at hand and the next ones on their way. Of its two receive buffers one is read while the
// other fills; a schedule with fewer exchanges has fewer of them.
struct RingAttention::KeyRing {
  KeyRing(RingAttention& ring, const ConstView& own)
      : context(ring.context_), steps(ring.schedule_.steps), at_hand(own) {
    for (size_t i = 0; i < steps.size(); ++i) {
      View& buffer = buffers[i % 2];
      if (steps[i].receive_from != kNobody && buffer.rank == 0) {
        buffer = AllocateLike(ring.memory_, own, own.dtype, "keys in flight");
      }
    }
  }

  // Sets the keys of `step` moving on and the next ones coming.
  void Start(size_t step) {
    const ScheduleStep& plan = steps[step];
    Exchange exchange{.tag = kKeyTag};
    if (plan.send_to != kNobody) {
      exchange.send = at_hand;
      exchange.to = plan.send_to;
    }
    if (plan.receive_from != kNobody) {
      exchange.receive = buffers[step % 2];
      exchange.from = plan.receive_from;
    }
    in_flight = context.Start(exchange);
  }

  // The next step's keys become those at hand.
  void Advance(size_t step) {
    in_flight.Wait();
    at_hand = buffers[step % 2];
  }

  Communicator& context;
  const std::vector<ScheduleStep>& steps;
  ConstView at_hand;
  std::array<View, 2> buffers;
  Transfer in_flight;  // last: completes before the buffers go
};

// The gradients of the keys at hand, one step behind them. sums[step % 2] gathers that of the
// step's keys; this rank's part of it is made in `part` and added when what came before is there.
// Own gradients come home into `own`, which serves as `part` where that happens last of all.
struct RingAttention::GradientRing {
  GradientRing(RingAttention& ring, const View& dkv)
      : kernels(ring.kernels_), context(ring.context_), schedule(ring.schedule_), own(dkv) {
    const auto need = [&](View& gradient) {
      if (gradient.rank > 0) return;
      gradient = AllocateLike(ring.memory_, own, DType::kF32, "key gradients in flight");
    };
    if (schedule.home_is_last) part = own;
    if (schedule.home_from != kNobody) need(sums[0]);
    for (size_t step = 1; step < schedule.steps.size(); ++step) {
      if (schedule.steps[step].kv_owner == kNobody) continue;
      need(sums[step % 2]);
      need(part);
    }
    if (!schedule.home_is_last) ReceiveOwn();
  }

  // Where this rank's part of the gradient of the step's keys is made.
  const View& PartOf(size_t step) const {
    if (step > 0) return part;
    return schedule.home_from == kNobody ? own : sums[0];
  }

  // Adds this rank's part, if it has one, to the sum, and sends it on.
  void Finish(size_t step, bool has_part) {
    const ScheduleStep& plan = schedule.steps[step];
    hop.Wait();
    home.Wait();
    if (step > 0 && has_part) kernels.Add({.x = part, .y = sums[step % 2]});
    Exchange exchange{.tag = kGradientTag};
    if (plan.send_to != kNobody) {
      exchange.send = sums[step % 2];
      exchange.to = plan.send_to;
    }
    if (plan.receive_from != kNobody) {
      exchange.receive = sums[(step + 1) % 2];
      exchange.from = plan.receive_from;
    }
    hop = context.Start(exchange);
    if (plan.home_to != kNobody) {
      home = context.Start({.send = sums[step % 2], .to = plan.home_to, .tag = kHomeTag});
    }
  }

  void ReceiveOwn() {
    if (schedule.home_from == kNobody) return;
    arrival = context.Start({.receive = own, .from = schedule.home_from, .tag = kHomeTag});
  }

  void WaitForAll() {
    if (schedule.home_is_last) ReceiveOwn();
    hop.Wait();
    home.Wait();
    arrival.Wait();
  }

  kernels::Kernels& kernels;
  Communicator& context;
  const Schedule& schedule;
  View own;
  View part;
  std::array<View, 2> sums;
  Transfer hop, home, arrival;  // last: complete before the buffers go
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
      schedule_(MakeSchedule()) {
  Check(partition.ranks() == context.size(), "a partition over {} ranks in a group of {}",
        partition.ranks(), context.size());
  Check(!masks.empty(), "an attention without a mask");
  for (const kernels::Mask& mask : masks) {
    Check(mask.length == partition.length(), "a mask of {} tokens over a sequence of {}",
          mask.length, partition.length());
  }
}

// Where documents start is data, which a plan has not read: what travels, and the memory it takes,
// is that of one document to a sequence.
Schedule RingAttention::MakeSchedule() const {
  std::vector<kernels::Mask> masks(masks_.begin(), masks_.end());
  for (kernels::Mask& mask : masks) {
    if (mask.kind == kernels::MaskKind::kDocuments) mask.document_starts = {};
  }
  const auto wants = [&](int rank, int owner) {
    const Positions queries = partition_.PositionsOf(rank), keys = partition_.PositionsOf(owner);
    return std::any_of(masks.begin(), masks.end(),
                       [&](const kernels::Mask& mask) { return AttendsTo(mask, queries, keys); });
  };
  return RingSchedule(context_.rank(), context_.size(), wants);
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

Positions RingAttention::KeysOf(const ScheduleStep& step) const {
  return step.kv_owner == kNobody ? Positions() : partition_.PositionsOf(step.kv_owner);
}

std::vector<size_t> RingAttention::Attending(const std::vector<Group>& groups,
                                             const Positions& keys) const {
  std::vector<size_t> attending;
  for (size_t g = 0; g < groups.size(); ++g) {
    if (AttendsTo(groups[g].mask, queries_, keys)) attending.push_back(g);
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
  Attendant attendant(context_);
  for (auto& attention : attentions) attention.meanwhile = attendant.meanwhile();
  KeyRing ring(*this, kv);
  for (size_t step = 0; step < schedule_.steps.size(); ++step) {
    ring.Start(step);
    const Positions keys = KeysOf(schedule_.steps[step]);
    for (const size_t g : Attending(groups, keys)) {
      kernels_.AttentionForwardFold(attentions[g], BlockOf(shape, groups[g], ring.at_hand, keys));
    }
    attendant.Finish();
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
  Attendant attendant(context_);
  for (auto& attention : attentions) attention.meanwhile = attendant.meanwhile();
  KeyRing ring(*this, inputs.kv);
  GradientRing gradients(*this, dkv);
  for (size_t step = 0; step < schedule_.steps.size(); ++step) {
    ring.Start(step);
    const Positions keys = KeysOf(schedule_.steps[step]);
    const std::vector<size_t> attending = Attending(groups, keys);
    const View& part = gradients.PartOf(step);
    if (step == 0 || !attending.empty()) kernels_.Zero(part);
    for (const size_t g : attending) {
      kernels_.AttentionBackwardFold(attentions[g], BlockOf(shape, groups[g], ring.at_hand, keys),
                                     GradientOf(shape, groups[g], part));
    }
    attendant.Finish();
    gradients.Finish(step, !attending.empty());
    ring.Advance(step);
  }
  for (size_t g = 0; g < groups.size(); ++g) {
    kernels_.AttentionBackwardFinish(attentions[g], groups[g].Of(dq));
  }
  gradients.WaitForAll();
}

}  // namespace annulus::parallel
