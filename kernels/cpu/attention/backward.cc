// Backward driver. A task is one tile of keys of one key/value head (or all its tiles, when there
// are heads enough for every thread); it walks the strips of all query heads that read that head.
// Traffic per tile and strip: Q and dO read and packed twice, dQ^T read and written, 4 * 64 * D;
// the tile's K, V, dK, dV, P and dS stay in the second-level cache.
#include <omp.h>

#include <atomic>
#include <cmath>
#include <limits>
#include <thread>

#include "kernels/base/bfloat16.h"
#include "kernels/base/denormals.h"
#include "kernels/cpu/attention/fused_attention.h"
#include "kernels/cpu/attention/geometry.h"
#include "kernels/cpu/attention/interludes.h"

namespace annulus::kernels::cpu {
namespace {

struct BackwardState {
  BackwardState(const Geometry& g, void* memory, int64_t* bytes = nullptr)
      : dq_floats(kStripQueries * g.padded_dim) {
    Carver carver(memory);
    dq = carver.Take<float>(g.all_strips * dq_floats);
    lse = carver.Take<float>(g.all_strips * kStripQueries);
    delta = carver.Take<float>(g.all_strips * kStripQueries);
    if (bytes != nullptr) *bytes = carver.bytes();
  }

  float* dq_at(int64_t strip) const { return dq + strip * dq_floats; }
  float* lse_at(int64_t strip) const { return lse + strip * kStripQueries; }
  float* delta_at(int64_t strip) const { return delta + strip * kStripQueries; }

  int64_t dq_floats;
  float* dq;
  float* lse;
  float* delta;
};

// One thread's. What lies across is kMaxWidth apart from a power of two, so that its rows spread
// over all sets of the first-level cache.
struct BackwardScratch {
  BackwardScratch(const Geometry& g, int64_t tile_keys, void* memory)
      : across_stride(g.padded_dim + kMaxWidth) {
    const int64_t across_words = kStripQueries / g.elements_per_word * across_stride;
    Carver carver(memory);
    k = carver.Take<float>(tile_keys * g.dim_words);
    v = carver.Take<float>(tile_keys * g.dim_words);
    k_panels = carver.Take<float>(g.PanelWords(tile_keys));
    dk = carver.Take<float>(tile_keys * g.padded_dim);
    dv = carver.Take<float>(tile_keys * g.padded_dim);
    q = carver.Take<float>(kStripQueries * g.dim_words);
    dout = carver.Take<float>(kStripQueries * g.dim_words);
    q_across = carver.Take<float>(across_words);
    dout_across = carver.Take<float>(across_words);
    probabilities = carver.Take<float>(tile_keys * kStripQueries);
    dscores = carver.Take<float>(tile_keys * kStripQueries);
    tile = {tile_keys, g.key_multiple, carver.Take<uint64_t>(tile_keys)};
    bytes = carver.bytes();
  }

  int64_t across_stride;
  float* k;
  float* v;
  float* k_panels;
  float* dk;
  float* dv;
  float* q;
  float* dout;
  float* q_across;
  float* dout_across;
  float* probabilities;
  float* dscores;
  KeyTile tile;
  int64_t bytes;
};

// Asks for rows ahead of their use, into the second level of the cache: they lie a stride apart
// that the hardware does not follow.
void Prefetch(const Rows& rows) {
  constexpr int64_t kLine = 64;
  const int64_t bytes = rows.element == Element::kF32 ? 4 : 2;
  const auto* row = static_cast<const char*>(rows.data);
  for (int64_t r = 0; r < rows.count; ++r, row += rows.stride * bytes) {
    for (int64_t i = 0; i < rows.dim * bytes; i += kLine) __builtin_prefetch(row + i, 0, 2);
  }
}

// Lets the tiles of keys add to a strip's dQ in ascending order. Tiles are taken in that order
// from one counter, so the tile waited for is always finished or running on another thread.
class Turnstile {
 public:
  explicit Turnstile(int32_t* turns) : turns_(turns) {}

  void Await(int64_t strip, int64_t tile) const {
    const std::atomic_ref<int32_t> turn(turns_[strip]);
    // Spinning for long would starve the thread waited for where threads outnumber cores.
    for (int spins = 0; turn.load(std::memory_order_acquire) != tile; ++spins) {
      if (spins >= kSpins) std::this_thread::yield();
    }
  }
  void Pass(int64_t strip, int64_t tile) const {
    Await(strip, tile);
    std::atomic_ref<int32_t>(turns_[strip])
        .store(static_cast<int32_t>(tile + 1), std::memory_order_release);
  }

 private:
  static constexpr int kSpins = 200;
  int32_t* turns_;
};

// to += factor * rows, f32.
void AddRows(const float* rows, int64_t row_stride, float factor, const MutableRows& to) {
  auto* data = static_cast<float*>(to.data);
  for (int64_t r = 0; r < to.count; ++r, rows += row_stride, data += to.stride) {
    for (int64_t d = 0; d < to.dim; ++d) data[d] += factor * rows[d];
  }
}

// Tiles [begin, end) of keys of one key/value head.
struct BackwardTask {
  int64_t batch;
  int64_t kv_head;
  int64_t begin;
  int64_t end;
};

class BackwardFolder {
 public:
  BackwardFolder(const AttentionMachine& machine, const AttentionBackwardArgs& args,
                 const KeyBlock& block, const KeyBlockGradient& gradient, Turnstile turnstile)
      : tiles_(machine.tiles),
        args_(args),
        block_(block),
        gradient_(gradient),
        turnstile_(turnstile),
        geometry_(args.problem, machine.tiles, machine.caches),
        state_(geometry_, args.state.data),
        query_tiles_(args.problem.queries, kStripQueries),
        key_tiles_(block.positions, geometry_.Tiles(block.positions.tokens()).backward_keys) {
    const int64_t kv_heads = args.problem.batch * geometry_.kv_heads;
    const int64_t tiles_per_head = key_tiles_.count();
    task_tiles_ = kv_heads >= 4 * machine.threads ? std::max<int64_t>(tiles_per_head, 1) : 1;
    tasks_per_head_ = (tiles_per_head + task_tiles_ - 1) / task_tiles_;
    tasks_ = kv_heads * tasks_per_head_;
  }

  int64_t tasks() const { return tasks_; }

  BackwardTask Task(int64_t i) const {
    const int64_t head = i / tasks_per_head_;
    const int64_t begin = i % tasks_per_head_ * task_tiles_;
    return {head / geometry_.kv_heads, head % geometry_.kv_heads, begin,
            std::min(begin + task_tiles_, key_tiles_.count())};
  }

  void Run(const BackwardTask& task, const BackwardScratch& scratch, Interludes& interludes) const {
    for (int64_t t = task.begin; t < task.end; ++t) RunTile(task, t, scratch, interludes);
  }

 private:
  void RunTile(const BackwardTask& task, int64_t t, const BackwardScratch& scratch,
               Interludes& interludes) const {
    const PositionTile keys = key_tiles_.at(t);
    bool packed = false;
    for (int64_t s = 0; s < geometry_.strips; ++s) {
      const PositionTile queries = query_tiles_.at(s);
      for (int64_t h = 0; h < geometry_.group; ++h) {
        const int64_t head = task.kv_head * geometry_.group + h;
        const int64_t strip = geometry_.Strip(task.batch, head, s);
        bool queries_packed = false;
        ForEachKeySpan(
            args_.problem.mask, queries.run, keys.run, scratch.tile, [&](const KeySpan& span) {
              if (!packed) PackKeys(task, keys, scratch);
              packed = true;
              if (!queries_packed) PackQueries(task.batch, head, queries, scratch);
              queries_packed = true;
              FoldSpan(Tile(span, queries.run.count, strip, scratch), {task.batch, head, s, t});
              interludes.After(10 * kStripQueries * geometry_.dim * (span.end - span.begin));
            });
        turnstile_.Pass(strip, t);
      }
    }
    if (packed) AddGradients(task, keys, scratch);
  }

  void PackKeys(const BackwardTask& task, const PositionTile& keys,
                const BackwardScratch& scratch) const {
    const Rows k = Geometry::HeadRows(block_.k, task.batch, task.kv_head, keys);
    const Rows v = Geometry::HeadRows(block_.v, task.batch, task.kv_head, keys);
    tiles_.pack_rows(k, scratch.k);
    tiles_.pack_rows(v, scratch.v);
    tiles_.pack_panels(k, scratch.k_panels, scratch.tile.keys, 0);
    std::fill_n(scratch.dk, scratch.tile.keys * geometry_.padded_dim, 0.0f);
    std::fill_n(scratch.dv, scratch.tile.keys * geometry_.padded_dim, 0.0f);
  }

  void PackQueries(int64_t batch, int64_t head, const PositionTile& queries,
                   const BackwardScratch& scratch) const {
    const Rows q = Geometry::HeadRows(args_.q, batch, head, queries);
    const Rows dout = Geometry::HeadRows(args_.dout, batch, head, queries);
    tiles_.pack_lanes(q, scratch.q);
    tiles_.pack_across(q, scratch.q_across, scratch.across_stride);
    tiles_.pack_lanes(dout, scratch.dout);
    tiles_.pack_across(dout, scratch.dout_across, scratch.across_stride);
  }

  BackwardTile Tile(const KeySpan& span, int64_t queries, int64_t strip,
                    const BackwardScratch& scratch) const {
    BackwardTile tile;
    tile.keys = span;
    tile.queries = queries;
    tile.dim = geometry_.dim;
    tile.across_stride = scratch.across_stride;
    tile.scale = args_.problem.scale;
    tile.q = scratch.q;
    tile.dout = scratch.dout;
    tile.lse = state_.lse_at(strip);
    tile.delta = state_.delta_at(strip);
    tile.q_across = scratch.q_across;
    tile.dout_across = scratch.dout_across;
    tile.k = scratch.k;
    tile.v = scratch.v;
    tile.k_panels = scratch.k_panels;
    tile.probabilities = scratch.probabilities;
    tile.dscores = scratch.dscores;
    tile.dq = state_.dq_at(strip);
    tile.dk = scratch.dk;
    tile.dv = scratch.dv;
    return tile;
  }

  // A strip of queries and the tile of keys that it meets.
  struct Meeting {
    int64_t batch;
    int64_t head;
    int64_t strip;
    int64_t key_tile;
  };

  // Between its products it asks for what the head's next strip will read.
  void FoldSpan(const BackwardTile& tile, const Meeting& at) const {
    PrefetchNext(args_.q, at);
    tiles_.differentiate(tile);
    PrefetchNext(args_.dout, at);
    tiles_.accumulate_dkv(tile);
    turnstile_.Await(geometry_.Strip(at.batch, at.head, at.strip), at.key_tile);
    tiles_.accumulate_dq(tile);
  }

  void PrefetchNext(const ConstView& x, const Meeting& at) const {
    if (at.strip + 1 == geometry_.strips) return;
    Prefetch(Geometry::HeadRows(x, at.batch, at.head, query_tiles_.at(at.strip + 1)));
  }

  void AddGradients(const BackwardTask& task, const PositionTile& keys,
                    const BackwardScratch& scratch) const {
    AddRows(scratch.dk, geometry_.padded_dim, args_.problem.scale,
            Geometry::HeadRows(gradient_.dk, task.batch, task.kv_head, keys));
    AddRows(scratch.dv, geometry_.padded_dim, 1.0f,
            Geometry::HeadRows(gradient_.dv, task.batch, task.kv_head, keys));
  }

  const TileKernels& tiles_;
  const AttentionBackwardArgs& args_;
  const KeyBlock& block_;
  const KeyBlockGradient& gradient_;
  Turnstile turnstile_;
  Geometry geometry_;
  BackwardState state_;
  PositionTiles query_tiles_;
  PositionTiles key_tiles_;
  int64_t task_tiles_;
  int64_t tasks_per_head_;
  int64_t tasks_;
};

float Widened(float x) { return x; }
float Widened(BFloat16 x) { return ToFloat(x); }

// The sum of a * b in kMaxWidth interleaved partial sums, which compilers keep in vectors.
template <class E>
float Dot(const E* a, const E* b, int64_t count) {
  float partial[kMaxWidth] = {};
  int64_t i = 0;
  for (; i + kMaxWidth <= count; i += kMaxWidth) {
    for (int64_t j = 0; j < kMaxWidth; ++j) partial[j] += Widened(a[i + j]) * Widened(b[i + j]);
  }
  for (int64_t j = 0; i + j < count; ++j) partial[j] += Widened(a[i + j]) * Widened(b[i + j]);
  float sum = 0;
  for (float x : partial) sum += x;
  return sum;
}

// delta[i] = row i of out . row i of dout.
template <class E>
void RowDots(const Rows& out, const Rows& dout, float* delta) {
  const auto* a = static_cast<const E*>(out.data);
  const auto* b = static_cast<const E*>(dout.data);
  for (int64_t i = 0; i < out.count; ++i) {
    delta[i] = Dot(a + i * out.stride, b + i * dout.stride, out.dim);
  }
}

int64_t TurnBytes(const Geometry& g) {
  Carver carver(nullptr);
  carver.Take<int32_t>(g.all_strips);
  return carver.bytes();
}

}  // namespace

int64_t FusedAttention::BackwardStateBytes(const AttentionProblem& problem) const {
  int64_t bytes = 0;
  BackwardState(Geometry(problem, machine_.tiles, machine_.caches), nullptr, &bytes);
  return bytes;
}

int64_t FusedAttention::BackwardScratchBytes(const AttentionProblem& problem,
                                             int64_t key_tokens) const {
  const Geometry g(problem, machine_.tiles, machine_.caches);
  const int64_t tile_keys = g.Tiles(key_tokens).backward_keys;
  return TurnBytes(g) + machine_.threads * BackwardScratch(g, tile_keys, nullptr).bytes;
}

void FusedAttention::BackwardBegin(const AttentionBackwardArgs& args) const {
  Check(args.problem.scale > 0, "the scale of the logits is {}, not positive", args.problem.scale);
  const Geometry g(args.problem, machine_.tiles, machine_.caches);
  const BackwardState state(g, args.state.data);
  const PositionTiles tiles(args.problem.queries, kStripQueries);
  const float* lse = args.lse.As<float>();
  ForEachStrip(g, machine_.threads, [&](int64_t batch, int64_t head, int64_t s) {
    const int64_t strip = g.Strip(batch, head, s);
    const PositionTile tile = tiles.at(s);
    const Rows out = Geometry::HeadRows(args.out, batch, head, tile);
    const Rows dout = Geometry::HeadRows(args.dout, batch, head, tile);
    std::fill_n(state.dq_at(strip), state.dq_floats, 0.0f);
    // +inf makes every probability of an absent or fully masked query an exact zero.
    std::fill_n(state.lse_at(strip), kStripQueries, std::numeric_limits<float>::infinity());
    std::fill_n(state.delta_at(strip), kStripQueries, 0.0f);
    const float* row_lse = lse + (batch * g.heads + head) * g.tokens + tile.token;
    for (int64_t i = 0; i < tile.run.count; ++i) {
      if (std::isfinite(row_lse[i])) state.lse_at(strip)[i] = row_lse[i];
    }
    if (args.problem.dtype == DType::kF32) {
      RowDots<float>(out, dout, state.delta_at(strip));
    } else {
      RowDots<BFloat16>(out, dout, state.delta_at(strip));
    }
  });
}

void FusedAttention::BackwardFold(const AttentionBackwardArgs& args, const KeyBlock& block,
                                  const KeyBlockGradient& gradient, View scratch) const {
  const Geometry g(args.problem, machine_.tiles, machine_.caches);
  char* memory = static_cast<char*>(scratch.data);
  auto* turns = reinterpret_cast<int32_t*>(memory);
  std::fill_n(turns, g.all_strips, 0);
  memory += TurnBytes(g);
  const BackwardFolder folder(machine_, args, block, gradient, Turnstile(turns));
  const int64_t tile_keys = g.Tiles(block.positions.tokens()).backward_keys;
  const int64_t scratch_bytes = BackwardScratch(g, tile_keys, nullptr).bytes;
  std::atomic<int64_t> next{0};
#pragma omp parallel num_threads(machine_.threads)
  {
    const FlushDenormals mode;
    Interludes interludes(args.meanwhile, omp_get_thread_num(), mode);
    const BackwardScratch own(g, tile_keys, memory + omp_get_thread_num() * scratch_bytes);
    for (int64_t i; (i = next.fetch_add(1)) < folder.tasks();) {
      folder.Run(folder.Task(i), own, interludes);
    }
  }
}

void FusedAttention::BackwardFinish(const AttentionBackwardArgs& args, View dq) const {
  const Geometry g(args.problem, machine_.tiles, machine_.caches);
  const BackwardState state(g, args.state.data);
  const PositionTiles tiles(args.problem.queries, kStripQueries);
  ForEachStrip(g, machine_.threads, [&](int64_t batch, int64_t head, int64_t s) {
    float factor[kStripQueries];
    std::fill_n(factor, kStripQueries, args.problem.scale);
    machine_.tiles.unpack_lanes(state.dq_at(g.Strip(batch, head, s)), factor,
                                Geometry::HeadRows(dq, batch, head, tiles.at(s)));
  });
}

}  // namespace annulus::kernels::cpu
