#include "tests/kernels/attention_draw.h"

#include <cstdlib>
#include <utility>

namespace annulus::kernels {
namespace {

// The positions of every rank of a ring whose tokens make up `length`, padding included.
std::vector<Positions> DrawPartition(Draw& draw, int64_t length) {
  enum class Kind { kContiguous, kZigzag, kStriped };
  const Kind kind = draw.OneOf({Kind::kContiguous, Kind::kZigzag, Kind::kStriped});
  // All runs of all ranks go into one Positions.
  const int64_t runs_each = kind == Kind::kZigzag ? 2 : 1;
  const int64_t ranks = draw.Between(1, Positions::kMaxRuns / runs_each);
  const int64_t piece = (length + ranks * runs_each - 1) / (ranks * runs_each);
  std::vector<Positions> all;
  for (int64_t rank = 0; rank < ranks; ++rank) {
    Positions positions(
        {kind == Kind::kStriped ? rank : rank * piece, kind == Kind::kStriped ? ranks : 1, piece});
    if (kind == Kind::kZigzag) positions.Append({(2 * ranks - 1 - rank) * piece, 1, piece});
    all.push_back(positions);
  }
  return all;
}

std::vector<int64_t> DrawStarts(Draw& draw, int64_t length) {
  std::vector<int64_t> starts = {0};
  while (starts.back() < length) {
    starts.push_back(starts.back() + draw.Between(1, draw.OneOf<int64_t>({1, 5, 60})));
  }
  return starts;
}

Mask DrawMask(Draw& draw, MaskKind kind, int64_t length, const std::vector<int64_t>& starts) {
  Mask mask{.kind = kind, .length = length, .window = draw.Between(1, length)};
  mask.document_starts = starts;
  mask.blocks = {.block_tokens = draw.Between(1, 40),
                 .window_blocks = draw.Between(0, 2),
                 .global_blocks = draw.Between(0, 1),
                 .stride_blocks = draw.Between(0, 3),
                 .random_blocks = draw.Between(0, 2),
                 .seed = static_cast<uint64_t>(draw.Between(0, 1000))};
  return mask;
}

}  // namespace

std::string DrawSpec::name() const {
  return std::string(NameOf(dtype)) + "_" + TestName(kind) + "_D" + std::to_string(head_dim);
}

uint64_t RunSeed() {
  static const uint64_t seed = [] {
    const char* given = std::getenv("ANNULUS_TEST_SEED");
    return given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device{}();
  }();
  return seed;
}

Draw DrawOf(const DrawSpec& spec) { return Draw(RunSeed() * 8192 + spec.which()); }

DrawnCase DrawCase(const DrawSpec& spec, Draw& draw) {
  const int64_t length = draw.Between(1, spec.most_tokens / 2) * 2 - 1;
  const std::vector<Positions> ranks = DrawPartition(draw, length);
  std::vector<int64_t> starts = DrawStarts(draw, length);
  std::vector<Positions> blocks = ranks;
  draw.Shuffle(blocks);

  AttentionProblem problem =
      MakeProblem(DrawMask(draw, spec.kind, length, starts), ranks.front(), spec.head_dim);
  problem.dtype = spec.dtype;
  problem.queries = ranks[static_cast<size_t>(draw.Between(0, std::ssize(ranks) - 1))];
  problem.kv_heads = draw.Between(1, 2);
  problem.heads = problem.kv_heads * draw.Between(1, 3);
  // Short sequences are many, lest a few roundings that chance to fall alike decide.
  problem.batch = draw.OneOf<int64_t>({1, 1, 1, 2}) + 80 / length;
  const auto inputs = static_cast<uint32_t>(draw.Between(0, 1 << 30));
  std::string description =
      fmt::format("ANNULUS_TEST_SEED={}: length {}, {} blocks, {} heads on {}, batch {}", RunSeed(),
                  length, blocks.size(), problem.heads, problem.kv_heads, problem.batch);
  return {MakeCase(problem, blocks, inputs), std::move(starts), std::move(description)};
}

}  // namespace annulus::kernels
