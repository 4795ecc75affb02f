#include "runtime/config/validate.h"

#include <algorithm>
#include <string>

#include "kernels/base/error.h"
#include "parallel/divisors.h"
#include "runtime/config/attention_mask.h"
#include "runtime/config/strategy.h"
#include "runtime/config/value_text.h"

namespace annulus::runtime {
namespace {

using parallel::Alternatives;
using parallel::DivisorsOf;

// The multiples of `of` next to `number`: "64 or 66".
std::string NearMultiples(int64_t number, int64_t of) {
  const int64_t below = number / of * of;
  return below == 0 ? fmt::format("{}", of) : fmt::format("{} or {}", below, below + of);
}

void ResolveModel(ModelOptions& model) {
  const int64_t heads = model.num_attention_heads;
  if (model.num_key_value_heads == 0) model.num_key_value_heads = heads;
  if (heads % model.num_key_value_heads != 0) {
    ThrowConfigError(
        "model.num_key_value_heads = {} does not divide num_attention_heads = {}; choose {}",
        model.num_key_value_heads, heads, Alternatives(DivisorsOf(heads)));
  }
  const bool derived = model.head_dim == 0;
  if (derived && model.hidden_size % heads != 0) {
    ThrowConfigError(
        "model.hidden_size = {} is not a multiple of num_attention_heads = {}; choose {}, or set "
        "model.head_dim",
        model.hidden_size, heads, NearMultiples(model.hidden_size, heads));
  }
  if (derived) model.head_dim = model.hidden_size / heads;
  if (model.head_dim % 2 != 0) {
    ThrowConfigError(
        "model.head_dim = {}{} is odd, but rotary embeddings turn pairs of features; choose {}",
        model.head_dim,
        derived
            ? fmt::format(" (hidden_size {} / num_attention_heads {})", model.hidden_size, heads)
            : "",
        NearMultiples(model.head_dim, 2));
  }
  if (model.embedding_initializer_range == 0) {
    model.embedding_initializer_range = model.initializer_range;
  }
}

void CheckData(const RunConfig& config) {
  const DataOptions& data = config.data;
  if (!data.path.empty() && !data.synthetic.empty()) {
    ThrowConfigError("data.path = {} and data.synthetic = {} are both given; leave one of them out",
                     data.path, data.synthetic);
  }
  if (data.path.empty() && data.synthetic.empty() && config.model.vocab_size == 0) {
    ThrowConfigError(
        "nothing says what to train on: give data.path or data.synthetic (to plan without data, "
        "model.vocab_size is enough)");
  }
  if (!data.path.empty() && data.held_out_fraction == 0 && config.train.eval_every > 0) {
    ThrowConfigError(
        "train.eval_every = {} evaluates on held-out data, but data.held_out_fraction = 0 holds "
        "out none; set it above 0 or leave eval_every out",
        config.train.eval_every);
  }
}

void ResolveParallel(ParallelOptions& parallel, int ranks, int world_size) {
  if (ranks != 0 && ranks != world_size) {
    ThrowConfigError("ranks = {}, but {} were started; leave ranks out or start as many", ranks,
                     world_size);
  }
  if (parallel.context_size == 0) parallel.context_size = world_size;
  if (world_size % parallel.context_size != 0) {
    ThrowConfigError("parallel.context_size = {} does not divide {} ranks; choose {}",
                     parallel.context_size, world_size, Alternatives(DivisorsOf(world_size)));
  }
}

// Requires ResolveParallel before.
void CheckBatch(const TrainOptions& train, const ParallelOptions& parallel, int world_size) {
  const int64_t groups = world_size / parallel.context_size;
  const int64_t at_once = groups * train.micro_batch_size;
  if (train.global_batch_size % at_once != 0) {
    ThrowConfigError(
        "train.global_batch_size = {} is not a multiple of {}: {} data-parallel group{} x "
        "micro_batch_size {}; choose {}",
        train.global_batch_size, at_once, groups, groups == 1 ? "" : "s", train.micro_batch_size,
        NearMultiples(train.global_batch_size, at_once));
  }
  // Micro batches make up the global batch, so a length that fits the one fits the other.
  const int64_t micro_tokens = train.micro_batch_size * train.sequence_length;
  for (const ContextPhase& phase : train.Phases()) {
    if (micro_tokens % phase.length != 0) {
      ThrowConfigError(
          "train.context_schedule: length {} does not divide the {} tokens of a micro batch "
          "(micro_batch_size {} x sequence_length {}); choose lengths that do",
          phase.length, micro_tokens, train.micro_batch_size, train.sequence_length);
    }
    if (phase.length < parallel.context_size) {
      ThrowConfigError(
          "parallel.context_size = {} ranks share sequences of {} tokens: some would hold none; "
          "choose at most {} ranks or longer sequences",
          parallel.context_size, phase.length, phase.length);
    }
  }
}

// What parsing settles, for configurations that were not parsed.
void CheckSchedule(const TrainOptions& train) {
  int64_t steps = 0;
  const std::vector<ContextPhase> phases = train.Phases();
  for (const ContextPhase& phase : phases) steps += phase.steps;
  if (steps != train.steps || phases.back().length != train.sequence_length) {
    ThrowConfigError(
        "train.context_schedule = {} takes {} steps and ends at length {}, but train.steps = {} "
        "and train.sequence_length = {}",
        RenderSchedule(phases), steps, phases.back().length, train.steps, train.sequence_length);
  }
}

void CheckOptimizer(const OptimizerOptions& optimizer, int64_t steps) {
  if (optimizer.min_learning_rate > optimizer.learning_rate) {
    ThrowConfigError("optimizer.min_learning_rate = {} is above learning_rate = {}",
                     optimizer.min_learning_rate, optimizer.learning_rate);
  }
  if (optimizer.decay == Decay::kConstant && optimizer.min_learning_rate != 0) {
    ThrowConfigError(
        "optimizer.min_learning_rate = {} is never reached with decay=constant; leave it out or "
        "choose decay=linear or cosine",
        optimizer.min_learning_rate);
  }
  if (optimizer.warmup_steps > steps) {
    ThrowConfigError("optimizer.warmup_steps = {} is more than the {} steps of the run",
                     optimizer.warmup_steps, steps);
  }
}

void CheckTransport(const RunConfig& config) {
  if (config.parallel.transport != TransportKind::kNccl) return;
  if (config.device.kind == DeviceKind::kCuda) return;
  ThrowConfigError(
      "parallel.transport = nccl carries tensors of GPUs, but device.kind = cpu; choose "
      "device.kind = cuda, or leave parallel.transport = auto");
}

void CheckDevice(const DeviceOptions& device) {
  if (device.tf32 && device.kind == DeviceKind::kCpu) {
    ThrowConfigError(
        "device.tf32 = true is arithmetic of GPUs; leave it out or choose device.kind = cuda");
  }
}

// Ranks do not read each other's devices.
void ResolveSharedMemory(const DeviceOptions& device, ParallelOptions& parallel) {
  if (device.kind == DeviceKind::kCpu) return;
  if (parallel.shared_memory == SharedMemory::kOn) {
    ThrowConfigError(
        "parallel.shared_memory = on is for keys in the memory of hosts, and device.kind = cuda "
        "keeps them in that of GPUs; leave it out");
  }
  parallel.shared_memory = SharedMemory::kOff;
}

}  // namespace

void Validate(RunConfig& config, int world_size) {
  Check(world_size >= 1, "a run of {} ranks", world_size);
  ResolveDevice(config);
  ResolveModel(config.model);
  CheckData(config);
  CheckSchedule(config.train);
  ResolveParallel(config.parallel, config.ranks, world_size);
  CheckBatch(config.train, config.parallel, world_size);
  ResolveStrategy(config.parallel, config.model.num_attention_heads);
  CheckOptimizer(config.optimizer, config.train.steps);
  ResolveAttention(config.attention);
}

void ResolveDevice(RunConfig& config) {
  CheckTransport(config);
  CheckDevice(config.device);
  ResolveSharedMemory(config.device, config.parallel);
}

}  // namespace annulus::runtime
