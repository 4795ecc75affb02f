// Fused attention over everything at once, on other numbers at every run: dtype x mask x head size,
// each with lengths, head groups, partition, folding order, mask and cache sizes drawn at random.
//
// ANNULUS_TEST_SEED=N repeats a run; a failure names its seed.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <random>
#include <tuple>

#include "tests/kernels/attention_fixture.h"

namespace annulus::kernels::cpu {
namespace {

uint64_t RunSeed() {
  static const uint64_t seed = [] {
    const char* given = std::getenv("ANNULUS_TEST_SEED");
    return given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device{}();
  }();
  return seed;
}

class Draw {
 public:
  explicit Draw(uint64_t seed) : generator_(seed) {}

  int64_t Between(int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(generator_);
  }
  template <class T>
  T OneOf(std::initializer_list<T> values) {
    return values.begin()[Between(0, std::ssize(values) - 1)];
  }
  template <class T>
  void Shuffle(std::vector<T>& values) {
    std::shuffle(values.begin(), values.end(), generator_);
  }

 private:
  std::mt19937_64 generator_;
};

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

class AttentionSweep : public testing::TestWithParam<std::tuple<DType, MaskKind, int>> {};

// A query with a single key has dq = 0, which cancellation leaves as a few roundings of its terms.
TEST_P(AttentionSweep, IsAccurate) {
  const auto [dtype, kind, head_dim] = GetParam();
  const auto which = static_cast<uint64_t>(head_dim) * 16 + static_cast<uint64_t>(kind) * 2 +
                     static_cast<uint64_t>(dtype == DType::kBF16);
  const uint64_t seed = RunSeed();
  Draw draw(seed * 8192 + which);
  const int64_t length = draw.Between(1, 25 + 1600 / head_dim) * 2 - 1;
  const std::vector<Positions> ranks = DrawPartition(draw, length);
  const std::vector<int64_t> starts = DrawStarts(draw, length);
  std::vector<Positions> blocks = ranks;
  draw.Shuffle(blocks);

  AttentionProblem problem =
      MakeProblem(DrawMask(draw, kind, length, starts), ranks.front(), head_dim);
  problem.dtype = dtype;
  problem.queries = ranks[static_cast<size_t>(draw.Between(0, std::ssize(ranks) - 1))];
  problem.kv_heads = draw.Between(1, 2);
  problem.heads = problem.kv_heads * draw.Between(1, 3);
  // Short sequences are many, lest a few roundings that chance to fall alike decide.
  problem.batch = draw.OneOf<int64_t>({1, 1, 1, 2}) + 80 / length;
  SCOPED_TRACE(fmt::format("ANNULUS_TEST_SEED={}: length {}, {} blocks, {} heads on {}, batch {}",
                           seed, length, blocks.size(), problem.heads, problem.kv_heads,
                           problem.batch));
  const CacheSizes caches{draw.OneOf<int64_t>({1, 48}) << 10, draw.OneOf<int64_t>({1, 2048}) << 10};
  const auto inputs = static_cast<uint32_t>(draw.Between(0, 1 << 30));
  ExpectAccurate(MakeCase(problem, blocks, inputs),
                 {.norm = Norm::kRootMeanSquare, .terms = Tolerance().floor}, caches);
}

INSTANTIATE_TEST_SUITE_P(All, AttentionSweep,
                         testing::Combine(testing::Values(DType::kF32, DType::kBF16),
                                          testing::ValuesIn(AllMaskKinds()),
                                          testing::Values(32, 40, 64, 80, 96, 128, 256)),
                         [](const auto& test) {
                           return std::string(NameOf(std::get<0>(test.param))) + "_" +
                                  TestName(std::get<1>(test.param)) + "_D" +
                                  std::to_string(std::get<2>(test.param));
                         });

}  // namespace
}  // namespace annulus::kernels::cpu
