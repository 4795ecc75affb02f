// Blocks take turns at tiles of queries: who is to wait for how many agrees with who comes,
// whatever the mask and the positions. A block that waited for one too many would hang a GPU.
#include <gtest/gtest.h>

#include <map>
#include <utility>

#include "kernels/cuda/attention/turns.h"
#include "tests/cuda/on_device.h"
#include "tests/kernels/attention_draw.h"

namespace annulus::kernels::cuda {
namespace {

struct Play {
  DeviceMask mask;
  TileTable queries;
  TileTable keys;
  int query_tile;  // tokens
  int key_tile;
};
struct Outcome {
  int visits;
  int out_of_turn;
  int not_at_rest;  // words that the last one did not leave 0
};

// One warp goes through what blocks of keys do, in the order in which they are drawn.
__global__ void PlayTurns(const __grid_constant__ Play p, int tokens, int* words,
                          Outcome* outcome) {
  Outcome found{};
  for (int key_tile = p.keys.runs == 0 ? -1 : p.keys.run[p.keys.runs - 1].tiles - 1; key_tile >= 0;
       --key_tile) {
    const Tile keys = TileAt(p.keys, key_tile, p.key_tile);
    QueryTileWalk<false> walk(p.mask, keys, p.queries, p.query_tile);
    while (true) {
      const VisibleTile queries = walk.WarpNext();
      if (queries.visibility == Visibility::kNone) break;
      const Turn turn = TurnAt(p.mask, queries.tile, p.keys, p.key_tile, key_tile);
      ++found.visits;
      if (words[queries.tile.token] != turn.awaited) ++found.out_of_turn;
      __syncwarp();
      if (threadIdx.x == 0) words[queries.tile.token] = turn.left;
      __syncwarp();
    }
  }
  for (int token = 0; token < tokens; ++token) found.not_at_rest += words[token] != 0 ? 1 : 0;
  if (threadIdx.x == 0) *outcome = found;
}

// Runs whose strides and distances need not be those of any partition.
Positions DrawRuns(Draw& draw, int64_t length) {
  Positions positions;
  const int64_t runs = draw.Between(1, Positions::kMaxRuns);
  int64_t start = draw.Between(0, 3);
  for (int64_t r = 0; r < runs; ++r) {
    const PositionRun run{start, draw.OneOf<int64_t>({1, 2, 5, 9}), draw.Between(1, length / 3)};
    positions.Append(run);
    start = run.last() + draw.Between(1, length / 4);
  }
  return positions;
}

__global__ void DrawAll(const KeyDraws draws, KeyWork* work) {
  work[blockIdx.x] = WorkOf(blockIdx.x, draws);
}

// Every tile of keys of every head once, and of a head the last ones first: a block waits for such
// alone as have drawn before it.
TEST(Draws, GiveEveryTileOnceAndTheLastOnesFirst) {
  for (const int heads_at_once : {1, 2, 3, 4, 5, 6}) {
    const KeyDraws draws{.key_tiles = 5, .kv_heads = 3, .batch = 2, .heads_at_once = heads_at_once};
    const auto count = static_cast<unsigned>(draws.count());
    const OnDevice<KeyWork> drawn(count);
    ASSERT_EQ(Launch({count, 1, 0}, DrawAll, draws, drawn.get()), cudaSuccess);
    std::map<std::pair<int, int>, int> next;  // tile, by batch and head
    for (const KeyWork& work : drawn.Read()) {
      const auto at = next.try_emplace({work.batch, work.kv_head}, draws.key_tiles - 1).first;
      EXPECT_EQ(work.key_tile, at->second--) << heads_at_once << " heads at once";
    }
    EXPECT_EQ(next.size(), 6u);
    for (const auto& head : next) EXPECT_EQ(head.second, -1) << heads_at_once << " heads at once";
  }
}

class Turns : public testing::TestWithParam<MaskKind> {};

TEST_P(Turns, AgreeWithWhoComes) {
  Draw draw(RunSeed() * 16 + static_cast<uint64_t>(GetParam()));
  int visits = 0;
  for (int round = 0; round < 60; ++round) {
    const int64_t length = draw.Between(8, 200);
    Mask mask{.kind = GetParam(), .length = length, .window = draw.Between(1, 40)};
    std::vector<int64_t> starts = {0};
    while (starts.back() < length) starts.push_back(starts.back() + draw.Between(1, 30));
    mask.document_starts = starts;
    const Positions queries = DrawRuns(draw, length), keys = DrawRuns(draw, length);
    std::vector<int> document_first;
    for (int64_t token = 0; token < queries.tokens(); ++token) {
      const auto after = std::upper_bound(starts.begin(), starts.end(), queries.at(token));
      document_first.push_back(static_cast<int>(*std::prev(after)));
    }
    const OnDevice<int> first(document_first);
    const OnDevice<int> words(std::vector<int>(document_first.size(), 0));
    const OnDevice<Outcome> outcome(1);
    const int query_tile = draw.OneOf({1, 4, 16}), key_tile = draw.OneOf({1, 4, 16});
    const Play play{MakeDeviceMask(mask, first.get()), CutIntoTiles(queries, query_tile),
                    CutIntoTiles(keys, key_tile), query_tile, key_tile};
    ASSERT_EQ(Launch({1, 32, 0}, PlayTurns, play, static_cast<int>(document_first.size()),
                     words.get(), outcome.get()),
              cudaSuccess);
    const Outcome found = outcome.Read()[0];
    EXPECT_EQ(found.out_of_turn, 0) << "round " << round << ", ANNULUS_TEST_SEED=" << RunSeed();
    EXPECT_EQ(found.not_at_rest, 0) << "round " << round << ", ANNULUS_TEST_SEED=" << RunSeed();
    visits += found.visits;
  }
  EXPECT_GT(visits, 100);
}

INSTANTIATE_TEST_SUITE_P(All, Turns,
                         testing::Values(MaskKind::kFull, MaskKind::kCausal, MaskKind::kWindow,
                                         MaskKind::kDocuments),
                         [](const auto& test) { return TestName(test.param); });

}  // namespace
}  // namespace annulus::kernels::cuda
