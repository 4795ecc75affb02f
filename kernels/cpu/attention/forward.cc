// Forward driver. A task is a few strips that read the same key/value head; it walks the tiles of
// keys, packs of each what some strip attends to once and folds it into every strip of the task.
// Traffic per task: its Q read and packed once; per tile, K and V read and packed once, 2 * tile *
// D; each strip's O^T read and written. Packed Q, O^T and the tile stay in the second-level cache:
// there the last fold finds the O^T that it writes out.
#include <omp.h>

#include <array>
#include <atomic>
#include <cmath>
#include <limits>

#include "kernels/base/denormals.h"
#include "kernels/cpu/attention/fused_attention.h"
#include "kernels/cpu/attention/geometry.h"
#include "kernels/cpu/attention/interludes.h"

namespace annulus::kernels::cpu {
namespace {

struct ForwardState {
  ForwardState(const Geometry& g, void* memory, int64_t* bytes = nullptr)
      : out_floats(kStripQueries * g.padded_dim) {
    Carver carver(memory);
    out = carver.Take<float>(g.all_strips * out_floats);
    reference = carver.Take<float>(g.all_strips * kStripQueries);
    sum = carver.Take<float>(g.all_strips * kStripQueries);
    if (bytes != nullptr) *bytes = carver.bytes();
  }

  float* out_at(int64_t strip) const { return out + strip * out_floats; }
  float* reference_at(int64_t strip) const { return reference + strip * kStripQueries; }
  float* sum_at(int64_t strip) const { return sum + strip * kStripQueries; }

  int64_t out_floats;
  float* out;
  float* reference;
  float* sum;
};

// One thread's.
struct ForwardScratch {
  ForwardScratch(const Geometry& g, const TileSizes& sizes, void* memory)
      : q_words(kStripQueries * g.dim_words) {
    const int64_t keys = sizes.forward_keys;
    Carver carver(memory);
    q = carver.Take<float>(std::min(sizes.forward_strips, g.strips * g.group) * q_words);
    k = carver.Take<float>(keys * g.dim_words);
    v = carver.Take<float>(g.PanelWords(keys));
    probabilities = carver.Take<float>(keys * kStripQueries);
    tile = {keys, g.key_multiple, carver.Take<uint64_t>(keys)};
    bytes = carver.bytes();
  }

  int64_t q_words;
  float* q;  // of the task's strips
  float* k;
  float* v;
  float* probabilities;
  KeyTile tile;
  int64_t bytes;
};

// Strips [begin, end) of the heads that share a key/value head, counted strip by strip with the
// heads inside.
struct ForwardTask {
  int64_t batch;
  int64_t kv_head;
  int64_t begin;
  int64_t end;
};

// Which keys of a tile are packed, piece by piece: a sparse mask wants few of them.
class PackedPieces {
 public:
  // Calls pack(begin, end) for the maximal ranges of keys, whole pieces, that cover [begin, end)
  // and are not packed yet, and counts them as packed.
  template <class Pack>
  void Add(int64_t begin, int64_t end, Pack pack) {
    for (int64_t piece = begin / kKeys; piece * kKeys < end; ++piece) {
      const int64_t first = piece;
      for (; piece * kKeys < end && !packed_[piece]; ++piece) packed_[piece] = true;
      if (piece > first) pack(first * kKeys, piece * kKeys);
    }
  }

 private:
  static constexpr int64_t kKeys = 32;  // a multiple of every key_multiple
  std::array<bool, TileSizes::kMostForwardKeys / kKeys> packed_{};
};

// Writes out the strips of a state.
class ForwardFinisher {
 public:
  // All must outlive this.
  ForwardFinisher(const AttentionMachine& machine, const AttentionForwardArgs& args,
                  const AttentionOutputs& outputs)
      : tiles_(machine.tiles),
        problem_(args.problem),
        outputs_(outputs),
        geometry_(problem_, machine.tiles, machine.caches),
        state_(geometry_, args.state.data),
        query_tiles_(problem_.queries, kStripQueries) {}

  // Strip `s` of a head.
  void Finish(int64_t batch, int64_t head, int64_t s) const {
    const int64_t strip = geometry_.Strip(batch, head, s);
    const PositionTile tile = query_tiles_.at(s);
    const float* sum = state_.sum_at(strip);
    const float* reference = state_.reference_at(strip);
    float* lse =
        outputs_.lse.As<float>() + (batch * geometry_.heads + head) * geometry_.tokens + tile.token;
    float factor[kStripQueries];
    for (int64_t i = 0; i < kStripQueries; ++i) factor[i] = sum[i] > 0 ? 1.0f / sum[i] : 0.0f;
    for (int64_t i = 0; i < tile.run.count; ++i) {
      lse[i] = static_cast<float>(double{reference[i]} * problem_.scale + std::log(double{sum[i]}));
    }
    tiles_.unpack_lanes(state_.out_at(strip), factor,
                        Geometry::HeadRows(outputs_.out, batch, head, tile));
  }

 private:
  const TileKernels& tiles_;
  const AttentionProblem& problem_;
  const AttentionOutputs& outputs_;
  Geometry geometry_;
  ForwardState state_;
  PositionTiles query_tiles_;
};

class ForwardFolder {
 public:
  ForwardFolder(const AttentionMachine& machine, const AttentionForwardArgs& args,
                const KeyBlock& block)
      : tiles_(machine.tiles),
        problem_(args.problem),
        q_(args.q),
        block_(block),
        geometry_(problem_, machine.tiles, machine.caches),
        sizes_(geometry_.Tiles(block.positions.tokens())),
        state_(geometry_, args.state.data),
        query_tiles_(problem_.queries, kStripQueries),
        key_tiles_(block.positions, sizes_.forward_keys) {
    const int64_t kv_heads = problem_.batch * geometry_.kv_heads;
    const int64_t strips = geometry_.strips * geometry_.group;
    task_strips_ =
        std::clamp<int64_t>(kv_heads * strips / (4 * machine.threads), 1, sizes_.forward_strips);
    tasks_per_head_ = (strips + task_strips_ - 1) / task_strips_;
    tasks_ = kv_heads * tasks_per_head_;
  }

  int64_t tasks() const { return tasks_; }

  // The later strips see more keys under a causal mask, so they come first.
  ForwardTask Task(int64_t i) const {
    const int64_t head = i / tasks_per_head_;
    const int64_t begin = (tasks_per_head_ - 1 - i % tasks_per_head_) * task_strips_;
    return {head / geometry_.kv_heads, head % geometry_.kv_heads, begin,
            std::min(begin + task_strips_, geometry_.strips * geometry_.group)};
  }

  void Run(const ForwardTask& task, const ForwardScratch& scratch, Interludes& interludes) const {
    std::array<bool, TileSizes::kMostStrips> queries_packed{};
    for (int64_t t = 0; t < key_tiles_.count(); ++t) {
      FoldTile(task, key_tiles_.at(t), {scratch, queries_packed.data(), interludes});
    }
  }

  void Finish(const ForwardTask& task, const ForwardFinisher& finisher) const {
    for (int64_t s = task.begin; s < task.end; ++s) {
      finisher.Finish(task.batch, HeadOf(task, s), s / geometry_.group);
    }
  }

 private:
  // What a task has at hand from tile to tile.
  struct Desk {
    const ForwardScratch& scratch;
    bool* queries_packed;  // per strip of the task
    Interludes& interludes;
  };

  int64_t HeadOf(const ForwardTask& task, int64_t s) const {
    return task.kv_head * geometry_.group + s % geometry_.group;
  }

  void FoldTile(const ForwardTask& task, const PositionTile& keys, const Desk& desk) const {
    const ForwardScratch& scratch = desk.scratch;
    PackedPieces pieces;
    for (int64_t s = task.begin; s < task.end; ++s) {
      const PositionTile queries = query_tiles_.at(s / geometry_.group);
      const int64_t head = HeadOf(task, s);
      const int64_t strip = geometry_.Strip(task.batch, head, s / geometry_.group);
      float* q = scratch.q + (s - task.begin) * scratch.q_words;
      ForEachKeySpan(problem_.mask, queries.run, keys.run, scratch.tile, [&](const KeySpan& span) {
        pieces.Add(span.begin, span.end, [&](int64_t begin, int64_t end) {
          Pack(task, keys.Sub(begin, end), begin, scratch);
        });
        if (bool& done = desk.queries_packed[s - task.begin]; !done) {
          tiles_.pack_lanes(Geometry::HeadRows(q_, task.batch, head, queries), q);
          done = true;
        }
        FoldSpan(span, queries.run.count, {strip, q}, scratch);
        desk.interludes.After(4 * kStripQueries * geometry_.dim * (span.end - span.begin));
      });
    }
  }

  // `keys` begin at key `first` of their tile.
  void Pack(const ForwardTask& task, const PositionTile& keys, int64_t first,
            const ForwardScratch& scratch) const {
    const auto rows = [&](const ConstView& x) {
      return Geometry::HeadRows(x, task.batch, task.kv_head, keys);
    };
    tiles_.pack_rows(rows(block_.k), scratch.k + first * geometry_.dim_words);
    tiles_.pack_panels(rows(block_.v), scratch.v, scratch.tile.keys, first);
  }

  struct PackedStrip {
    int64_t strip;
    const float* q;
  };

  void FoldSpan(const KeySpan& span, int64_t queries, const PackedStrip& packed,
                const ForwardScratch& scratch) const {
    const int64_t strip = packed.strip;
    ForwardTile tile;
    tile.keys = span;
    tile.queries = queries;
    tile.dim = geometry_.dim;
    tile.scale = problem_.scale;
    tile.q = packed.q;
    tile.k = scratch.k;
    tile.v = scratch.v;
    tile.out = state_.out_at(strip);
    tile.reference = state_.reference_at(strip);
    tile.sum = state_.sum_at(strip);
    tile.probabilities = scratch.probabilities;
    tiles_.fold(tile);
  }

  const TileKernels& tiles_;
  const AttentionProblem& problem_;
  const ConstView& q_;
  const KeyBlock& block_;
  Geometry geometry_;
  TileSizes sizes_;
  ForwardState state_;
  PositionTiles query_tiles_;
  PositionTiles key_tiles_;
  int64_t task_strips_;
  int64_t tasks_per_head_;
  int64_t tasks_;
};

// Folds the block in; where a finisher is given, a task's strips are finished right after it.
void RunFold(const AttentionMachine& machine, const AttentionForwardArgs& args,
             const KeyBlock& block, View scratch, const ForwardFinisher* finisher) {
  const Geometry g(args.problem, machine.tiles, machine.caches);
  const TileSizes sizes = g.Tiles(block.positions.tokens());
  const ForwardFolder folder(machine, args, block);
  std::atomic<int64_t> next{0};
#pragma omp parallel num_threads(machine.threads)
  {
    const FlushDenormals mode;
    Interludes interludes(args.meanwhile, omp_get_thread_num(), mode);
    const int64_t bytes = ForwardScratch(g, sizes, nullptr).bytes;
    const ForwardScratch own(g, sizes,
                             static_cast<char*>(scratch.data) + omp_get_thread_num() * bytes);
    for (int64_t i; (i = next.fetch_add(1)) < folder.tasks();) {
      const ForwardTask task = folder.Task(i);
      folder.Run(task, own, interludes);
      if (finisher != nullptr) folder.Finish(task, *finisher);
    }
  }
}

}  // namespace

int64_t FusedAttention::ForwardStateBytes(const AttentionProblem& problem) const {
  int64_t bytes = 0;
  ForwardState(Geometry(problem, machine_.tiles, machine_.caches), nullptr, &bytes);
  return bytes;
}

int64_t FusedAttention::ForwardScratchBytes(const AttentionProblem& problem,
                                            int64_t key_tokens) const {
  const Geometry g(problem, machine_.tiles, machine_.caches);
  return machine_.threads * ForwardScratch(g, g.Tiles(key_tokens), nullptr).bytes;
}

void FusedAttention::ForwardBegin(const AttentionForwardArgs& args) const {
  Check(args.problem.scale > 0, "the scale of the logits is {}, not positive", args.problem.scale);
  const Geometry g(args.problem, machine_.tiles, machine_.caches);
  const ForwardState state(g, args.state.data);
  ForEachStrip(g, machine_.threads, [&](int64_t batch, int64_t head, int64_t s) {
    const int64_t strip = g.Strip(batch, head, s);
    std::fill_n(state.out_at(strip), state.out_floats, 0.0f);
    std::fill_n(state.reference_at(strip), kStripQueries, -std::numeric_limits<float>::infinity());
    std::fill_n(state.sum_at(strip), kStripQueries, 0.0f);
  });
}

void FusedAttention::ForwardFold(const AttentionForwardArgs& args, const KeyBlock& block,
                                 View scratch) const {
  RunFold(machine_, args, block, scratch, nullptr);
}

void FusedAttention::ForwardLast(const AttentionForwardArgs& args, const KeyBlock& block,
                                 const AttentionOutputs& outputs, View scratch) const {
  const ForwardFinisher finisher(machine_, args, outputs);
  RunFold(machine_, args, block, scratch, &finisher);
}

void FusedAttention::ForwardFinish(const AttentionForwardArgs& args,
                                   const AttentionOutputs& outputs) const {
  const ForwardFinisher finisher(machine_, args, outputs);
  ForEachStrip(Geometry(args.problem, machine_.tiles, machine_.caches), machine_.threads,
               [&](int64_t batch, int64_t head, int64_t s) { finisher.Finish(batch, head, s); });
}

}  // namespace annulus::kernels::cpu
