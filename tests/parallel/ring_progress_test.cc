// The ring looks after its exchanges while kernels compute, and tells what fails meanwhile.
#include <gtest/gtest.h>

#include <algorithm>

#include "kernels/base/error.h"
#include "kernels/cpu/cpu_table.h"
#include "parallel/dry_communicator.h"
#include "parallel/ring_attention.h"
#include "runtime/memory/arena.h"

namespace annulus::parallel {
namespace {

using kernels::DType;
using kernels::MemoryCategory;

class WatchedCommunicator final : public DryCommunicator {
 public:
  explicit WatchedCommunicator(bool fails) : DryCommunicator(0, 1), fails_(fails) {}

  void Progress() override {
    ++calls;
    if (fails_) ThrowSystemError("the network is down");
  }

  int calls = 0;

 private:
  bool fails_;
};

// Large enough that a fold is worth an interruption.
struct OneRank {
  static constexpr int64_t kTokens = 600, kDim = 64;

  explicit OneRank(bool fails) : context(fails) {
    for (View* view : {&q, &out, &dout, &dq}) {
      *view = Ones({1, kTokens, 1, kDim});
    }
    kv = Ones({2, 1, kTokens, kDim});
    dkv = Ones({2, 1, kTokens, kDim});
    lse = Ones({1, 1, kTokens});
  }

  View Ones(std::initializer_list<int64_t> dims) {
    const View view = arena.Allocate(DType::kF32, dims, MemoryCategory::kActivations, "test");
    std::fill_n(view.As<float>(), view.size(), 1.0f);
    return view;
  }
  void Forward() { ring.Forward(shape, q, kv, out, lse); }
  void Backward() {
    ring.Backward(shape, {.q = q, .kv = kv, .out = out, .dout = dout, .lse = lse}, dq, dkv);
  }

  runtime::Arena arena{int64_t{16} << 20};
  kernels::CpuTable table{1};
  kernels::Kernels kernels{table, arena};
  WatchedCommunicator context;
  Partition partition{PartitionKind::kContiguous, kTokens, 1};
  kernels::Mask mask{.kind = kernels::MaskKind::kFull, .length = kTokens};
  AttentionShape shape{.head_dim = kDim};
  RingAttention ring{kernels, arena, context, partition, {&mask, 1}};
  View q, out, dout, dq, kv, dkv, lse;
};

TEST(RingProgress, ExchangesAreLookedAfterWhileAttentionComputes) {
  OneRank rank(false);
  rank.Forward();
  EXPECT_GT(rank.context.calls, 0);
  rank.context.calls = 0;
  rank.Backward();
  EXPECT_GT(rank.context.calls, 0);
}

TEST(RingProgress, AFailureMeanwhileIsThrownOnce) {
  OneRank rank(true);
  EXPECT_THROW(rank.Forward(), SystemError);
  EXPECT_EQ(rank.context.calls, 1);
  EXPECT_THROW(rank.Backward(), SystemError);
  EXPECT_EQ(rank.context.calls, 2);
}

}  // namespace
}  // namespace annulus::parallel
