#include "parallel/ring_attention.h"

#include <algorithm>

#include "parallel/attendant.h"
#include "parallel/block_exchange.h"
#include "parallel/watch.h"

namespace annulus::parallel {
namespace {

using kernels::DType;
using kernels::KeyBlock;
using kernels::KeyBlockGradient;
using kernels::MemoryScope;
using kernels::Positions;

// Half 0 holds keys (or dK), half 1 values (or dV).
template <class AnyView>
AnyView Half(const AttentionShape& shape, const AnyView& kv, int half) {
  return kv.Slice(0, half, 1).Reshape({shape.batch, kv.dim(2), shape.kv_heads, shape.head_dim});
}

// How many of its own keys a rank folds in first where the rest waits for the last gradient: a
// third, which under a causal mask is half of the work. While the first ones are folded in, one
// block of keys arrives; while the rest is, one of gradients. Tiles of keys stay whole.
int64_t FirstOwnKeys(int64_t tokens) {
  constexpr int64_t kTileKeys = 64;
  const int64_t third = tokens / 3;
  return third < kTileKeys ? third : third - third % kTileKeys;
}

bool AttendsTo(const kernels::Mask& mask, const Positions& queries, const Positions& keys) {
  for (int i = 0; i < queries.runs(); ++i) {
    for (int j = 0; j < keys.runs(); ++j) {
      if (mask.Classify(queries.run(i), keys.run(j)) != kernels::Coverage::kSkip) return true;
    }
  }
  return false;
}

constexpr int kNever = -1;

// The last step in which each of the groups attends, or kNever.
std::vector<int> LastSteps(const std::vector<std::vector<size_t>>& attending_by_step,
                           size_t groups) {
  std::vector<int> last(groups, kNever);
  for (size_t step = 0; step < attending_by_step.size(); ++step) {
    for (const size_t g : attending_by_step[step]) last[g] = static_cast<int>(step);
  }
  return last;
}

}  // namespace

RingAttention::RingAttention(kernels::Kernels& kernels, kernels::StackMemory& memory,
                             Communicator& context, const Partition& partition,
                             std::span<const kernels::Mask> masks, const ScheduleSpec& schedule)
    : kernels_(kernels),
      memory_(memory),
      context_(context),
      partition_(partition),
      masks_(masks),
      queries_(partition.PositionsOf(context.rank())),
      schedule_(ScheduleOf(schedule)) {
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
Schedule RingAttention::ScheduleOf(const ScheduleSpec& spec) const {
  std::vector<kernels::Mask> masks(masks_.begin(), masks_.end());
  for (kernels::Mask& mask : masks) {
    if (mask.kind == kernels::MaskKind::kDocuments) mask.document_starts = {};
  }
  ScheduleSpec in_place = spec;
  in_place.memory_nodes = context_.MemoryNodes();
  const auto wants = [&](int rank, int owner) {
    const Positions queries = partition_.PositionsOf(rank), keys = partition_.PositionsOf(owner);
    return std::any_of(masks.begin(), masks.end(),
                       [&](const kernels::Mask& mask) { return AttendsTo(mask, queries, keys); });
  };
  return MakeSchedule(in_place, context_.rank(), context_.size(), wants);
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

RingAttention::Keys RingAttention::KeysOf(const ScheduleStep& step) const {
  if (step.kv_owner == kNobody) return {};
  return {0, partition_.PositionsOf(step.kv_owner)};
}

KeyBlock RingAttention::BlockOf(const AttentionShape& shape, const Group& group, const Keys& keys,
                                const ConstView& kv) {
  return {group.Of(keys.Of(Half(shape, kv, 0))), group.Of(keys.Of(Half(shape, kv, 1))),
          keys.positions};
}

KeyBlockGradient RingAttention::GradientOf(const AttentionShape& shape, const Group& group,
                                           const Keys& keys, const View& dkv) {
  return {group.Of(keys.Of(Half(shape, dkv, 0))), group.Of(keys.Of(Half(shape, dkv, 1)))};
}

std::vector<size_t> RingAttention::Attending(const std::vector<Group>& groups,
                                             const Positions& keys) const {
  std::vector<size_t> attending;
  for (size_t g = 0; g < groups.size(); ++g) {
    if (AttendsTo(groups[g].mask, queries_, keys)) attending.push_back(g);
  }
  return attending;
}

std::vector<std::vector<size_t>> RingAttention::AttendingByStep(
    const std::vector<Group>& groups) const {
  std::vector<std::vector<size_t>> attending;
  for (const ScheduleStep& step : schedule_.steps) {
    attending.push_back(Attending(groups, KeysOf(step).positions));
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
  const auto outputs = [&](size_t g) {
    return kernels::AttentionOutputs{groups[g].Of(out), groups[g].Of(lse)};
  };
  Attendant attendant(context_);
  for (auto& attention : attentions) attention.meanwhile = attendant.meanwhile();
  BlockExchange blocks({kernels_, context_, schedule_.keys, Cargo::kKeys}, memory_, kv);
  const int steps = static_cast<int>(schedule_.steps.size());
  const std::vector<std::vector<size_t>> attending = AttendingByStep(groups);
  const std::vector<int> last = LastSteps(attending, groups.size());
  for (int step = 0; step < steps; ++step) {
    const ScheduleStep& plan = schedule_.steps[static_cast<size_t>(step)];
    const StepWatch watch(context_, Pass::kForward, step, plan.kv_owner);
    blocks.Wait(step);
    blocks.Start(step);
    const Keys keys = KeysOf(plan);
    for (const size_t g : attending[static_cast<size_t>(step)]) {
      const KeyBlock block = BlockOf(shape, groups[g], keys, blocks.At(plan.keys));
      if (step == last[g]) {
        kernels_.AttentionForwardLast(attentions[g], block, outputs(g));
      } else {
        kernels_.AttentionForwardFold(attentions[g], block);
      }
    }
    attendant.Finish();
    blocks.Return();
  }
  for (size_t g = 0; g < groups.size(); ++g) {
    if (last[g] == kNever) kernels_.AttentionForwardFinish(attentions[g], outputs(g));
  }
  const StepWatch watch(context_, Pass::kForward, steps, kNobody);
  blocks.Wait(steps);
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
  BlockExchange blocks({kernels_, context_, schedule_.keys, Cargo::kKeys}, memory_, inputs.kv);
  BlockExchange sums({kernels_, context_, schedule_.gradients, Cargo::kGradients}, memory_, dkv);
  const auto fold = [&](const std::vector<size_t>& attending, const Keys& keys, ConstView block,
                        View gradient) {
    for (const size_t g : attending) {
      kernels_.AttentionBackwardFold(attentions[g], BlockOf(shape, groups[g], keys, block),
                                     GradientOf(shape, groups[g], keys, gradient));
    }
    attendant.Finish();
  };
  const int64_t first_own =
      schedule_.own_keys_last ? FirstOwnKeys(queries_.tokens()) : queries_.tokens();
  const int steps = static_cast<int>(schedule_.steps.size());
  for (int step = 0; step < steps; ++step) {
    const ScheduleStep& plan = schedule_.steps[static_cast<size_t>(step)];
    const StepWatch watch(context_, Pass::kBackward, step, plan.kv_owner);
    blocks.Wait(step);
    blocks.Start(step);
    Keys keys = KeysOf(plan);
    if (plan.kv_owner == context_.rank()) keys = keys.Slice(0, first_own);
    const std::vector<size_t> attending = Attending(groups, keys.positions);
    const bool begins_sum = plan.kv_owner != kNobody && plan.part == plan.sum;
    if (begins_sum || !attending.empty()) kernels_.Zero(sums.Writable(plan.part));
    fold(attending, keys, blocks.At(plan.keys), sums.Writable(plan.part));
    blocks.Return();
    sums.Wait(step);
    if (!begins_sum && !attending.empty()) {
      kernels_.Add({.x = sums.At(plan.part), .y = sums.Writable(plan.sum)});
    }
    sums.Start(step);
  }
  const StepWatch watch(context_, Pass::kBackward, steps,
                        schedule_.own_keys_last ? context_.rank() : kNobody);
  if (schedule_.own_keys_last) {
    const Keys rest = Keys{0, queries_}.Slice(first_own, queries_.tokens() - first_own);
    fold(Attending(groups, rest.positions), rest, inputs.kv, dkv);
  }
  for (size_t g = 0; g < groups.size(); ++g) {
    kernels_.AttentionBackwardFinish(attentions[g], groups[g].Of(dq));
  }
  blocks.Wait(steps);
  sums.Wait(steps);
}

}  // namespace annulus::parallel
