#include <algorithm>
#include <vector>

#include "runtime/config/option_types.h"
#include "runtime/config/options.h"
#include "runtime/config/strategy.h"

namespace annulus::runtime {
namespace {

using kernels::DType;
using kernels::MaskKind;
using parallel::PartitionKind;

constexpr int kMostRanks = 1 << 20;
constexpr int kMostThreads = 1 << 12;
constexpr double kLeastEps = 1e-30;   // smaller ones would be 0 in f32
constexpr double kMostSeconds = 1e9;  // clocks count nanoseconds in 64 bits

template <class Field, class Type>
Option Bind(std::string_view key, Field field, Type type, std::string_view help) {
  return {.key = std::string(key),
          .unit = type.Unit(),
          .help = std::string(help),
          .set = [field, type](RunConfig& config, std::string_view text,
                               std::string_view place) { field(config) = type.Parse(text, place); },
          .get = [field, type](const RunConfig& config) { return type.Render(field(config)); }};
}

Option OfOneCall(Option option) {
  option.in_file = false;
  return option;
}

// The key of an option is the path of its field in RunConfig: written once, they cannot differ.
#define OPTION(path, type, help) \
  Bind(                          \
      #path, [](auto& config) -> auto& { return config.path; }, type, help)

std::vector<Option> TopLevel() {
  return {
      OfOneCall(OPTION(config, Text{"FILE"},
                       "INI file to read options from; the command line "
                       "takes precedence over it")),
      OPTION(output, Text{"DIR"},
             "where results go; by default runs/ and the name of the configuration file"),
      OPTION(ranks, (Whole<int>{"RANKS", 0, kMostRanks}),
             "ranks to run as threads of this process; 0: as many as mpirun or srun started, or 1"),
      OfOneCall(OPTION(json, Text{"FILE"}, "also write the report to FILE, for machines")),
      OfOneCall(OPTION(svg, Text{"FILE"}, "also draw the report to FILE, as SVG")),
      OfOneCall(OPTION(machine, Text{"FILE"},
                       "rates of a machine, to predict times by; annulus bench calibrate writes "
                       "them to FILE")),
      OfOneCall(OPTION(trace, Text{"FILE"},
                       "also write what each rank did and when to FILE, for "
                       "https://ui.perfetto.dev or chrome://tracing")),
  };
}

std::vector<Option> Model() {
  return {
      OPTION(model.hidden_size, Count("FEATURES", 1, 1 << 20), "width of the residual stream"),
      OPTION(model.num_hidden_layers, Count("LAYERS", 1, 1 << 16), "transformer blocks"),
      OPTION(model.num_attention_heads, Count("HEADS", 1, 1 << 16), "query heads"),
      OPTION(model.num_key_value_heads, Count("HEADS", 0, 1 << 16),
             "key/value heads, each shared by as many query heads; 0: num_attention_heads"),
      OPTION(model.head_dim, Count("FEATURES", 0, 1 << 16),
             "size of a head; 0: hidden_size / num_attention_heads"),
      OPTION(model.intermediate_size, Count("FEATURES", 1, 1 << 24), "width of the SwiGLU block"),
      OPTION(model.vocab_size, Count("TOKENS", 0, kMostCounted - 1), "token ids; 0: the dataset's"),
      OPTION(model.rope_theta, Positive("BASE"), "base of the rotary embedding's wavelengths"),
      OPTION(model.rms_norm_eps, AtLeast("EPS", kLeastEps), "added to the mean square in RMSNorm"),
      OPTION(model.tie_word_embeddings, Bool{}, "the output layer shares the embedding's weights"),
      OPTION(model.initializer_range, Positive("STD"), "standard deviation of initial weights"),
      OPTION(model.embedding_initializer_range, NotNegative("STD"),
             "standard deviation of the initial embedding; 0: initializer_range"),
      OPTION(model.dtype, (Names<DType>{{{"f32", DType::kF32}, {"bf16", DType::kBF16}}}),
             "element type of weights and activations; bf16 keeps f32 masters, sums and gradients"),
  };
}

std::vector<Option> Data() {
  return {
      OPTION(data.path, Text{"PATH"}, "file or directory of text to train on"),
      OPTION(data.synthetic, Text{"TASK"}, "generated task to train on instead of a text"),
      OPTION(data.held_out_fraction, Fraction("FRACTION"), "share of the data kept for evaluation"),
  };
}

std::vector<Option> Train() {
  return {
      OPTION(train.steps, Count("STEPS", 1),
             "optimizer steps; the sum of the steps of context_schedule where that is given"),
      OPTION(train.sequence_length, Count("TOKENS", 1),
             "tokens of a sequence; the last length of context_schedule where that is given"),
      OPTION(train.context_schedule, Schedule{},
             "lengths to train on one after the other, as in 512:100,2048:20,8192:40; the tokens "
             "of a step stay constant"),
      OPTION(train.global_batch_size, Count("SEQUENCES", 1),
             "sequences of sequence_length in a step, over all ranks"),
      OPTION(train.micro_batch_size, Count("SEQUENCES", 1),
             "sequences of sequence_length that a context group works on at once"),
      OPTION(train.seed, (Whole<uint64_t>{"N", 0, UINT64_MAX}),
             "of the initial weights and of the order of the data"),
      OPTION(train.eval_every, Count("STEPS", 0),
             "steps between evaluations on held-out data; 0: at the end only"),
      OPTION(train.eval_sequences, Count("SEQUENCES", 0),
             "sequences of sequence_length in an evaluation; 0: all that are held out"),
      OPTION(train.log_every, Count("STEPS", 1), "steps between lines on the terminal"),
      OPTION(train.trace_steps, Count("STEPS", 1),
             "steps that --trace records, from the second on (the first warms up)"),
  };
}

std::vector<Option> Optimizer() {
  return {
      OPTION(optimizer.learning_rate, Positive("RATE"), "highest learning rate"),
      OPTION(optimizer.min_learning_rate, NotNegative("RATE"), "learning rate of the last step"),
      OPTION(optimizer.warmup_steps, Count("STEPS", 0), "steps of linear growth to learning_rate"),
      OPTION(optimizer.decay,
             (Names<Decay>{{{"linear", Decay::kLinear},
                            {"cosine", Decay::kCosine},
                            {"constant", Decay::kConstant}}}),
             "way from learning_rate to min_learning_rate"),
      OPTION(optimizer.weight_decay, NotNegative("RATE"), "decoupled, times the learning rate"),
      OPTION(optimizer.beta1, Fraction("FRACTION"), "AdamW's first moment kept per step"),
      OPTION(optimizer.beta2, Fraction("FRACTION"), "AdamW's second moment kept per step"),
      OPTION(optimizer.eps, AtLeast("EPS", kLeastEps), "AdamW's denominator is at least this"),
      OPTION(optimizer.clip_norm, NotNegative("NORM"),
             "longest gradient, over all parameters; 0: no limit"),
  };
}

Names<ContextStrategy> StrategyNames() {
  Names<ContextStrategy> names;
  for (const StrategyTraits& traits : Strategies()) {
    names.choices.push_back({traits.name, traits.strategy});
  }
  names.choices.push_back({NameOf(ContextStrategy::kAuto), ContextStrategy::kAuto});
  return names;
}

std::vector<Option> ParallelAndAttention() {
  return {
      OPTION(parallel.context_size, (Whole<int>{"RANKS", 0, kMostRanks}),
             "ranks that share a sequence, the others are data parallel; 0: all ranks"),
      OPTION(parallel.partition,
             (Names<PartitionKind>{{{"zigzag", PartitionKind::kZigzag},
                                    {"striped", PartitionKind::kStriped},
                                    {"contiguous", PartitionKind::kContiguous}}}),
             "which tokens of a sequence a rank holds"),
      OPTION(
          parallel.strategy, StrategyNames(),
          "how queries meet the keys of other ranks; auto: what sends least, or by --machine takes "
          "least"),
      OPTION(parallel.ulysses_size, (Whole<int>{"RANKS", 0, kMostRanks}),
             "ranks that spread the heads among them, with strategy=hybrid; 0: what sends least"),
      OPTION(parallel.node_size, (Whole<int>{"RANKS", 0, kMostRanks}),
             "ranks of a node, for double-ring and shared_memory; 0: as they were started"),
      OPTION(parallel.blocks_in_flight, (Whole<int>{"BLOCKS", 0, kMostRanks}),
             "blocks of keys that a rank has room for, with strategy=all-gather; 0: all at once"),
      OPTION(parallel.shared_memory,
             (Names<SharedMemory>{{{"auto", SharedMemory::kAuto},
                                   {"on", SharedMemory::kOn},
                                   {"off", SharedMemory::kOff}}}),
             "ranks of a node read each other's keys in place; auto: where there is room for it"),
      OPTION(parallel.transport,
             (Names<TransportKind>{{{"auto", TransportKind::kAuto},
                                    {"mpi", TransportKind::kMpi},
                                    {"threads", TransportKind::kThreads},
                                    {"nccl", TransportKind::kNccl}}}),
             "what carries messages; auto: MPI under mpirun or srun, else threads, and NCCL for "
             "tensors of GPUs where each rank has one of its own"),
      OPTION(parallel.timeout_s, (Real{"SECONDS", 0, false, kMostSeconds}),
             "longest wait for another rank"),
      OPTION(attention.mask,
             (Names<MaskKind>{{{"causal", MaskKind::kCausal},
                               {"full", MaskKind::kFull},
                               {"window", MaskKind::kWindow},
                               {"documents", MaskKind::kDocuments},
                               {"block-sparse", MaskKind::kBlockSparse}}}),
             "which keys a query attends to"),
      OPTION(attention.window, Count("TOKENS", 0),
             "keys that a query attends to, its own among them, with mask=window"),
      OPTION(attention.pattern,
             (Names<BlockPatternName>{{{"custom", BlockPatternName::kCustom},
                                       {"longformer", BlockPatternName::kLongformer},
                                       {"bigbird", BlockPatternName::kBigBird},
                                       {"strided", BlockPatternName::kStrided}}}),
             "which blocks a query attends to with mask=block-sparse, where the next options do "
             "not say otherwise"),
      OPTION(attention.block_tokens, Count("TOKENS", 0), "size of a block; 0: 64"),
      OPTION(attention.window_blocks, Count("BLOCKS", 0),
             "the query's own block and those right before it; 0: the pattern's, custom's is 1"),
      OPTION(attention.global_blocks, Count("BLOCKS", 0),
             "first blocks of the sequence, which every query attends to; 0: the pattern's"),
      OPTION(attention.stride_blocks, Count("BLOCKS", 0),
             "distance of blocks all the way back; 0: the pattern's"),
      OPTION(attention.random_blocks, Count("BLOCKS", 0),
             "about so many blocks drawn at random; 0: the pattern's"),
      OPTION(attention.block_seed, (Whole<uint64_t>{"N", 0, UINT64_MAX}),
             "of the random blocks; part of the model, so train.seed has no say in it"),
  };
}

std::vector<Option> MemoryAndDevice() {
  return {
      OPTION(memory.recompute,
             (Names<Recompute>{{{"none", Recompute::kNone},
                                {"mlp", Recompute::kMlp},
                                {"block", Recompute::kBlock}}}),
             "what backward computes again instead of keeping it"),
      OPTION(memory.budget_bytes, Bytes{},
             "most memory of a rank, as in 512M or 1.5G; 0: no limit"),
      OPTION(memory.loss_chunk_tokens, Count("TOKENS", 0),
             "tokens whose logits exist at once; 0: automatic"),
      OPTION(device.kind,
             (Names<DeviceKind>{{{"cpu", DeviceKind::kCpu}, {"cuda", DeviceKind::kCuda}}}),
             "what computes: cpu = cores; cuda = GPUs, those of a node in turn for its ranks"),
      OPTION(device.tf32, Bool{},
             "products of f32 on a GPU's tensor cores, factors rounded to TF32"),
      OPTION(device.threads, (Whole<int>{"THREADS", 0, kMostThreads}),
             "threads of a rank; 0: the cores of a node over its ranks"),
  };
}

std::vector<Option> Bench() {
  const Names<DType> dtypes{{{"f32", DType::kF32}, {"bf16", DType::kBF16}}};
  const Names<BenchMask> masks{{{"full", BenchMask::kFull},
                                {"causal", BenchMask::kCausal},
                                {"window", BenchMask::kWindow},
                                {"documents", BenchMask::kDocuments},
                                {"longformer", BenchMask::kLongformer},
                                {"bigbird", BenchMask::kBigBird},
                                {"strided", BenchMask::kStrided}}};
  const Names<AttentionMethod> methods{
      {{"fused", AttentionMethod::kFused}, {"naive", AttentionMethod::kNaive}}};
  return {
      OPTION(bench.n, ListOf{Count("TOKENS", 1, 1 << 24)},
             "lengths of a sequence, by default 1024,2048,4096; wall doubles from the first to the "
             "last, by default from 1024 to 65536"),
      OPTION(bench.head_dim, ListOf{Count("FEATURES", 1, 1 << 10)}, "sizes of a head"),
      OPTION(bench.dtype, ListOf{dtypes}, "element types of queries, keys and values"),
      OPTION(bench.mask, ListOf{masks},
             "which keys a query attends to; the last three are block-sparse patterns"),
      OPTION(bench.implementation, ListOf{methods},
             "fused, or naive: with the n x n matrices written out"),
      OPTION(bench.threads, (ListOf{Whole<int>{"THREADS", 0, kMostThreads}}),
             "threads that compute; 0: the cores this process may use; of cores alone"),
      OPTION(bench.heads, Count("HEADS", 1, 1 << 16), "query heads"),
      OPTION(bench.kv_heads, Count("HEADS", 0, 1 << 16), "key/value heads; 0: heads"),
      OPTION(bench.batch, Count("SEQUENCES", 1, 1 << 16), "sequences at once"),
      OPTION(bench.window, Count("TOKENS", 0),
             "keys of the window mask, mean length of documents; 0: n / 8"),
      OPTION(
          bench.intermediate_size, Count("FEATURES", 0, 1 << 24),
          "width of the MLP that wall sets beside attention; 0: 8/3 of heads * head_dim, rounded "
          "up to a multiple of 64"),
      OPTION(bench.repetitions, Count("ROUNDS", 1, 1 << 20), "rounds that a median is taken over"),
      OPTION(bench.roof_size, Count("ROWS", 0, 1 << 15),
             "rows and columns of the matrix product that is the roof; 0: 2048, on a GPU 8192"),
      OPTION(bench.memory_bytes, Bytes{},
             "most memory of one implementation; what needs more is left out; 0: half of what is "
             "free"),
      OPTION(bench.time_s, (Real{"SECONDS", 0, false, kMostSeconds}),
             "wall leaves out what would end later than this"),
      OPTION(
          bench.sizes,
          (Names<CallSizes>{{{"auto", CallSizes::kAuto},
                             {"small", CallSizes::kSmall},
                             {"large", CallSizes::kLarge},
                             {"least", CallSizes::kLeast}}}),
          "calls that calibrate times: those of small models, of large ones, or the least, which "
          "try the command and say nothing of the machine; auto: small on cores, large on a GPU"),
      OPTION(bench.mode,
             (ListOf{Names<ScalingMode>{
                 {{"strong", ScalingMode::kStrong}, {"weak", ScalingMode::kWeak}}}}),
             "strong: sequence_length over more and more ranks; weak: sequence_length to each"),
      OPTION(bench.dry, Bool{}, "predict for --ranks N by --machine FILE and measure nothing"),
  };
}

#undef OPTION

std::vector<Option> MakeTable() {
  std::vector<Option> table;
  for (auto* part :
       {TopLevel, Model, Data, Train, Optimizer, ParallelAndAttention, MemoryAndDevice, Bench}) {
    for (Option& option : part()) table.push_back(std::move(option));
  }
  return table;
}

}  // namespace

std::string_view Option::section() const {
  const size_t dot = key.find('.');
  return dot == std::string::npos ? std::string_view() : std::string_view(key).substr(0, dot);
}

std::string_view Option::name() const { return std::string_view(key).substr(key.find('.') + 1); }

std::span<const Option> Options() {
  static const std::vector<Option> table = MakeTable();
  return table;
}

const Option* FindOption(std::string_view key) {
  const std::span<const Option> options = Options();
  const auto found = std::find_if(options.begin(), options.end(),
                                  [key](const Option& option) { return option.key == key; });
  return found == options.end() ? nullptr : &*found;
}

}  // namespace annulus::runtime
