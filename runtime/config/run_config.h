// All that a user can choose about a run, as plain data: one struct per section of the INI file,
// fields named as the options are. options.h gives each field its help text and its range,
// validate.h checks them together and replaces each 0 that stands for another option's value.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/base/dtype.h"
#include "kernels/base/mask.h"
#include "parallel/partition.h"

namespace annulus::runtime {

// A Llama-style decoder; names and meanings are those of Hugging Face's config.json.
struct ModelOptions {
  int64_t hidden_size = 64;
  int64_t num_hidden_layers = 2;
  int64_t num_attention_heads = 2;
  int64_t num_key_value_heads = 0;  // 0: num_attention_heads; Validate() replaces it
  int64_t head_dim = 0;             // 0: hidden_size / num_attention_heads; Validate() replaces it
  int64_t intermediate_size = 176;  // of the SwiGLU block
  int64_t vocab_size = 0;           // 0: the dataset's, known once the data is open
  double rope_theta = 10000;
  double rms_norm_eps = 1e-5;
  bool tie_word_embeddings = false;
  double initializer_range = 0.02;         // standard deviation of the initial weights
  double embedding_initializer_range = 0;  // 0: initializer_range; Validate() replaces it
  kernels::DType dtype = kernels::DType::kF32;

  bool operator==(const ModelOptions&) const = default;
};

struct DataOptions {
  std::string path;       // file or directory of text; "": none
  std::string synthetic;  // name of a generated task; "": none
  double held_out_fraction = 0.1;

  bool operator==(const DataOptions&) const = default;
};

// `steps` steps on sequences of `length` tokens.
struct ContextPhase {
  int64_t length = 0;
  int64_t steps = 0;

  bool operator==(const ContextPhase&) const = default;
};

struct TrainOptions {
  int64_t steps = 100;
  int64_t sequence_length = 1024;  // tokens
  // Phases in order; empty: one phase, see Phases(). Where it is given, `steps` is the sum of its
  // steps and `sequence_length` the length of its last phase; the tokens of a step stay constant.
  std::vector<ContextPhase> context_schedule;
  int64_t global_batch_size = 1;  // sequences of sequence_length per step, over all ranks
  int64_t micro_batch_size = 1;   // sequences of sequence_length one context group holds at once
  uint64_t seed = 1;
  int64_t eval_every = 0;      // steps; 0: at the end only
  int64_t eval_sequences = 8;  // of sequence_length; 0: all that are held out
  int64_t log_every = 1;       // steps between lines on the terminal
  int64_t trace_steps = 3;     // that --trace records, after the first, which warms up

  bool operator==(const TrainOptions&) const = default;

  std::vector<ContextPhase> Phases() const {
    if (!context_schedule.empty()) return context_schedule;
    return {{sequence_length, steps}};
  }
  int64_t tokens_per_step() const { return global_batch_size * sequence_length; }
  // Sequences per step over all ranks, and per context group at once, where a sequence has `length`
  // tokens. Exact for the phases of a validated configuration.
  int64_t GlobalBatch(int64_t length) const { return tokens_per_step() / length; }
  int64_t MicroBatch(int64_t length) const { return micro_batch_size * sequence_length / length; }
};

// The learning rate's way from learning_rate, after the warm-up, to min_learning_rate.
enum class Decay : uint8_t { kLinear, kCosine, kConstant };

// AdamW (Loshchilov & Hutter 2019).
struct OptimizerOptions {
  double learning_rate = 1e-3;
  double min_learning_rate = 0;  // reached at the last step; unused where decay is constant
  int64_t warmup_steps = 0;      // linear from 0
  Decay decay = Decay::kLinear;
  double weight_decay = 0;
  double beta1 = 0.9;
  double beta2 = 0.95;
  double eps = 1e-8;
  double clip_norm = 1;  // of the global gradient; 0: no clipping

  bool operator==(const OptimizerOptions&) const = default;
};

// How queries meet the keys of other ranks; strategy.h has what each one takes.
enum class ContextStrategy : uint8_t {
  kRing,        // keys go round
  kAllGather,   // keys go straight to every rank
  kDoubleRing,  // keys go round a node, and nodes' keys round the nodes
  kUlysses,     // every rank takes all tokens of some of the heads
  kHybrid,      // Ulysses within groups of ulysses_size ranks, a ring across them
  kAuto,        // one of these, by what a plan of each costs; a run's set-up replaces it
};

enum class TransportKind : uint8_t { kAuto, kMpi, kThreads, kNccl };

// Whether ranks that share memory read each other's keys where they lie.
enum class SharedMemory : uint8_t {
  kAuto,  // where they can
  kOn,    // a run without room for it is refused
  kOff,   // all keys are copied
};

struct ParallelOptions {
  int context_size = 0;  // ranks that share a sequence; 0: all ranks; Validate() replaces it
  parallel::PartitionKind partition = parallel::PartitionKind::kZigzag;
  ContextStrategy strategy = ContextStrategy::kRing;
  // Ranks that spread the heads among them; 0: what the strategy makes of it. Validate() replaces
  // it, but for strategy = auto and for hybrid, where a plan of each size decides.
  int ulysses_size = 0;
  // Ranks of a node; 0: as the ranks were placed. A run's set-up replaces it for double-ring.
  int node_size = 0;
  // Of keys that an all-gather has under way or at hand; 0: all that it wants, from the start.
  int blocks_in_flight = 0;
  SharedMemory shared_memory = SharedMemory::kAuto;
  TransportKind transport = TransportKind::kAuto;
  double timeout_s = 60;  // of one wait for a peer

  bool operator==(const ParallelOptions&) const = default;
};

// Which blocks of keys a query attends to where the mask is block-sparse; attention_mask.cc has the
// numbers.
enum class BlockPatternName : uint8_t { kCustom, kLongformer, kBigBird, kStrided };

struct AttentionOptions {
  kernels::MaskKind mask = kernels::MaskKind::kCausal;
  int64_t window = 0;  // tokens, the query's own among them; 0 where mask is not window
  // Of a block-sparse mask, see kernels::BlockPattern; all 0 where mask is another.
  BlockPatternName pattern = BlockPatternName::kCustom;
  int64_t block_tokens = 0;   // 0: 64; Validate() replaces it
  int64_t window_blocks = 0;  // 0: the pattern's, custom's being 1; Validate() replaces it
  int64_t global_blocks = 0;  // 0: the pattern's, custom's being none; Validate() replaces it
  int64_t stride_blocks = 0;  // likewise
  int64_t random_blocks = 0;  // likewise
  uint64_t block_seed = 0;    // of the random blocks

  bool operator==(const AttentionOptions&) const = default;
};

// What backward computes again instead of keeping it.
enum class Recompute : uint8_t {
  kNone,
  kMlp,    // the MLP half of every block
  kBlock,  // every block, from its input
};

struct MemoryOptions {
  Recompute recompute = Recompute::kNone;
  int64_t budget_bytes = 0;       // per rank; 0: no limit
  int64_t loss_chunk_tokens = 0;  // tokens whose logits exist at once; 0: chosen automatically

  bool operator==(const MemoryOptions&) const = default;
};

enum class DeviceKind : uint8_t { kCpu, kCuda };

struct DeviceOptions {
  DeviceKind kind = DeviceKind::kCpu;
  bool tf32 = false;  // products of f32 on tensor cores
  int threads = 0;    // per rank; 0: this node's cores / this node's ranks

  bool operator==(const DeviceOptions&) const = default;
};

// What `annulus bench` can measure. The last three are patterns of the block-sparse mask.
enum class BenchMask : uint8_t {
  kFull,
  kCausal,
  kWindow,
  kDocuments,
  kLongformer,
  kBigBird,
  kStrided,
};
enum class AttentionMethod : uint8_t { kFused, kNaive };

// What stays the same as ranks are added: the sequence, or a rank's part of it.
enum class ScalingMode : uint8_t { kStrong, kWeak };

// How large the calls are that `annulus bench calibrate` times.
enum class CallSizes : uint8_t {
  kAuto,   // small on cores, large on devices
  kSmall,  // of models that cores train
  kLarge,  // of models that fill a device
  kLeast,  // so small that the rates mean nothing, to try the command
};

// One attention, over every combination of the lists.
struct BenchOptions {
  std::vector<int64_t> n;  // tokens of a sequence; empty: the benchmark's own
  std::vector<int64_t> head_dim = {64};
  std::vector<kernels::DType> dtype = {kernels::DType::kF32};
  std::vector<BenchMask> mask = {BenchMask::kCausal};
  std::vector<AttentionMethod> implementation = {AttentionMethod::kFused, AttentionMethod::kNaive};
  std::vector<int> threads = {0};  // 0: the cores that this process may use
  int64_t heads = 8;
  int64_t kv_heads = 0;  // 0: heads
  int64_t batch = 1;
  int64_t window = 0;             // tokens; 0: n / 8
  int64_t intermediate_size = 0;  // of the MLP beside attention; 0: 8/3 of heads * head_dim
  int64_t repetitions = 5;
  int64_t roof_size = 0;     // rows and columns of the product that is the roof; 0: by the device
  int64_t memory_bytes = 0;  // 0: half of what is free
  double time_s = 120;       // of bench wall
  CallSizes sizes = CallSizes::kAuto;
  std::vector<ScalingMode> mode = {ScalingMode::kStrong, ScalingMode::kWeak};
  bool dry = false;  // predict, measure nothing

  bool operator==(const BenchOptions&) const = default;
};

struct RunConfig {
  ModelOptions model;
  DataOptions data;
  TrainOptions train;
  OptimizerOptions optimizer;
  ParallelOptions parallel;
  AttentionOptions attention;
  MemoryOptions memory;
  DeviceOptions device;
  BenchOptions bench;

  std::string output;  // directory of the results; "": runs/NAME, see OutputDirectory()
  int ranks = 0;       // ranks as threads of this process; 0: not set
  // Of one call of the command, never part of the INI file:
  std::string config;   // the INI file; "": none
  std::string json;     // where the command writes its report for machines; "": nowhere
  std::string svg;      // where it draws it; "": nowhere
  std::string machine;  // the file of a machine's rates; "": none
  std::string trace;    // where train writes what its ranks did and when; "": nowhere

  bool operator==(const RunConfig&) const = default;
};

}  // namespace annulus::runtime
