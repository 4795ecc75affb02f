// wgmma.mma_async m64nNk16 of bf16. Source: PTX ISA, "Asynchronous Warpgroup Level Matrix
// Instructions": register fragments, matrix descriptors, layouts of shared memory.
#include <algorithm>
#include <array>
#include <cstring>
#include <utility>
#include <vector>

#include "tests/cuda/emulator/block.h"
#include "tests/cuda/emulator/collectives.h"
#include "tests/cuda/emulator/counters.h"
#include "tests/cuda/emulator/elements.h"
#include "tests/cuda/emulator/hopper.h"
#include "tests/cuda/emulator/mbarriers.h"
#include "tests/cuda/emulator/products.h"
#include "tests/cuda/emulator/text.h"
#include "tests/cuda/emulator/wgmma_queue.h"

namespace annulus::emulator {
namespace {

constexpr int kRows = 16;  // of a warp

// A matrix descriptor, decoded. The matrix has MN rows and 16 columns K, in core matrices of 8 x 16
// bytes; eight elements along the contiguous dim are a chunk.
struct Layout {
  uint32_t start, leading, stride;  // bytes
  uint32_t width;                   // bytes of a permuted row: 16 (none), 32, 64, 128
  CUtensorMapSwizzle swizzle;
  bool along_mn;
};

Layout Decode(uint64_t descriptor, bool along_mn) {
  const auto field = [descriptor](int bit) {
    return static_cast<uint32_t>(descriptor >> bit & 0x3fff) << 4;
  };
  const auto mode = static_cast<uint32_t>(descriptor >> 62);  // 1: 128 bytes, 2: 64, 3: 32
  const uint32_t swizzle = mode == 0 ? 0 : 4 - mode;
  return {field(0), field(16), field(32), 16u << swizzle, static_cast<CUtensorMapSwizzle>(swizzle),
          along_mn};
}

// The shared address of the chunk with element (mn, k); of its 8 elements that is the first.
uint32_t ChunkAt(const Layout& layout, uint32_t mn, uint32_t k) {
  const uint32_t across = layout.width / 2;  // elements of a permuted row
  uint32_t offset;
  if (!layout.along_mn) {
    const uint32_t column =
        layout.width == 16 ? k / 8 * layout.leading : k * 2;  // K fits a permuted row
    offset = mn / 8 * layout.stride + mn % 8 * layout.width + column;
  } else if (layout.width == 16) {
    offset = mn / 8 * layout.stride + k / 8 * layout.leading + k % 8 * 16;
  } else {
    offset = mn / across * layout.leading + k / 8 * layout.stride + k % 8 * layout.width +
             mn % across * 2;
  }
  return Swizzled(layout.start + offset, layout.swizzle);
}

// Calls visit(mn, k, address) for the chunks of rows [first, first + rows).
template <class Visit>
void ForEachChunk(const Layout& layout, uint32_t first, uint32_t rows, const Visit& visit) {
  const uint32_t mn_step = layout.along_mn ? 8 : 1, k_step = layout.along_mn ? 1 : 8;
  for (uint32_t mn = 0; mn < rows; mn += mn_step) {
    for (uint32_t k = 0; k < kProductDepth; k += k_step) {
      visit(mn, k, ChunkAt(layout, first + mn, k));
    }
  }
}

// Rows [first, first + rows) of a matrix in shared memory, element (mn, k) at to[mn * by_mn + k *
// by_k].
struct Target {
  float* to;
  uint32_t by_mn, by_k;
};
void Load(const Layout& layout, uint32_t first, uint32_t rows, const Target& target, Place at) {
  const uint32_t step = layout.along_mn ? target.by_mn : target.by_k;
  ForEachChunk(layout, first, rows, [&](uint32_t mn, uint32_t k, uint32_t address) {
    std::array<uint16_t, 8> bits;
    std::memcpy(bits.data(), block->shared.At(address, 16, "wgmma", at), 16);
    float* to = target.to + mn * target.by_mn + k * target.by_k;
    for (uint32_t i = 0; i < 8; ++i) to[i * step] = FromBf16(bits[i]);
  });
}

struct Issued {
  int columns;
  bool accumulate;
  bool a_in_registers;
  Layout a, b;
  uint32_t first_row;  // of the warp, in its warpgroup
  std::array<float, kRows * kProductDepth> a_registers;
  Place at;
};

void Act(const Issued& issued, float* values) {
  const auto columns = static_cast<uint32_t>(issued.columns);
  std::array<float, kRows* kProductDepth> a = issued.a_registers;
  if (!issued.a_in_registers) {
    Load(issued.a, issued.first_row, kRows, {a.data(), kProductDepth, 1}, issued.at);
  }
  std::vector<float> b(kProductDepth * columns);
  Load(issued.b, 0, columns, {b.data(), 1, columns}, issued.at);
  std::vector<double> sum(kRows * columns);
  SumProducts(kRows, issued.columns, a.data(), b.data(), sum.data());
  // Register 4 j + r of a lane: row g + 8 (r / 2), column 8 j + 2 t + r % 2.
  for (uint32_t lane = 0; lane < 32; ++lane) {
    for (uint32_t i = 0; i < columns / 2; ++i) {
      const uint32_t row = lane / 4 + i / 2 % 2 * 8;
      const uint32_t column = i / 4 * 8 + lane % 4 * 2 + i % 2;
      float& value = values[lane * (columns / 2) + i];
      const double before = issued.accumulate ? double{value} : 0.0;
      value = static_cast<float>(sum[row * columns + column] + before);
    }
  }
}

// Registers of a lane: as those of mma.m16n8k16.
void GatherA(const uint32_t* registers, uint32_t lane, float* a) {
  for (uint32_t r = 0; r < 4; ++r) {
    for (uint32_t e = 0; e < 2; ++e) {
      const uint32_t row = lane / 4 + r % 2 * 8, column = lane % 4 * 2 + r / 2 * 8 + e;
      a[row * kProductDepth + column] =
          ElementOf(Fragments::kBf16, registers[r], static_cast<int>(e));
    }
  }
}

// What the product reads in shared memory until it is waited for.
std::vector<SharedAccess> ReadsOf(const Issued& issued) {
  std::vector<SharedAccess> reads;
  if (block->races == nullptr) return reads;
  const auto add = [&](uint32_t, uint32_t, uint32_t address) {
    if (!block->shared.Holds(address, 16)) return;
    reads.push_back(
        {address - kSharedWindow, 16, Access::kRead, self->warp * 32, issued.at, Proxy::kAsync});
  };
  if (!issued.a_in_registers) ForEachChunk(issued.a, issued.first_row, kRows, add);
  ForEachChunk(issued.b, 0, static_cast<uint32_t>(issued.columns), add);
  return reads;
}

void CheckOperands(void* const* arguments, Place at) {
  const auto& first = *static_cast<const WgmmaOperands*>(arguments[0]);
  for (int lane = 1; lane < 32; ++lane) {
    const auto& other = *static_cast<const WgmmaOperands*>(arguments[lane]);
    if (other.b_descriptor == first.b_descriptor && other.a_descriptor == first.a_descriptor &&
        other.accumulate == first.accumulate) {
      continue;
    }
    Tell(Defect::kDivergence, "lanes give wgmma different descriptors or scales, at " + LineOf(at));
    break;
  }
  const uint64_t base_offsets = (first.b_descriptor | first.a_descriptor) >> 49 & 7;
  if (base_offsets != 0) {
    Tell(Defect::kAsync,
         "a matrix descriptor has a base offset, which is not emulated, at " + LineOf(at));
  }
}

WgmmaQueue& QueueOfWarp() {
  Warp& warp = block->warps[static_cast<size_t>(self->warp)];
  if (warp.wgmma == nullptr) warp.wgmma = std::make_unique<WgmmaQueue>();
  return *warp.wgmma;
}

void IssueForWarp(void* const* arguments, uint32_t, Place at) {
  Count(&Counters::wgmma);
  CheckOperands(arguments, at);
  const auto& first = *static_cast<const WgmmaOperands*>(arguments[0]);
  Issued issued{first.columns,
                first.accumulate,
                first.a != nullptr,
                Decode(first.a_descriptor, first.a_along_m),
                Decode(first.b_descriptor, first.b_along_n),
                static_cast<uint32_t>(self->warp % 4 * kRows),
                {},
                at};
  WgmmaProduct product;
  product.count = first.columns / 2;
  for (uint32_t lane = 0; lane < 32; ++lane) {
    const auto& operands = *static_cast<const WgmmaOperands*>(arguments[lane]);
    product.registers[lane] = operands.d;
    if (operands.a != nullptr) GatherA(operands.a, lane, issued.a_registers.data());
  }
  product.fingerprint = first.a_descriptor * 31 + first.b_descriptor * 7 +
                        static_cast<uint64_t>(first.columns) + (first.accumulate ? 1 : 0);
  product.reads = ReadsOf(issued);
  product.act = [issued](float* values) { Act(issued, values); };
  QueueOfWarp().Issue(std::move(product), at);
}

void RequireWarpgroup(const char* what, Place at) {
  RequireCapability(90, what, at);
  const bool whole = (self->warp / 4 + 1) * 128 <= block->thread_count();
  if (TheOptions().capability / 10 == 9 && whole) return;
  Tell(Defect::kDevice,
       Text("%s needs sm_90 and a whole warpgroup, at %s", what, LineOf(at).c_str()));
  block->GiveUp();
}

}  // namespace

void Wgmma(const WgmmaOperands& operands, Place at) {
  const InEmulator inside;
  RequireWarpgroup("wgmma", at);
  Meet("wgmma", kAllLanes, const_cast<WgmmaOperands*>(&operands), IssueForWarp, at);
}

void WgmmaFence(Place at) {
  Meet(
      "wgmma.fence", kAllLanes, nullptr,
      [](void* const*, uint32_t, Place) { QueueOfWarp().Fence(); }, at);
}

void WgmmaCommit(Place at) {
  Meet(
      "wgmma.commit_group", kAllLanes, nullptr,
      [](void* const*, uint32_t, Place) { QueueOfWarp().Commit(); }, at);
}

void WgmmaWait(int pending, Place at) {
  Meet(
      "wgmma.wait_group", kAllLanes, &pending,
      [](void* const* arguments, uint32_t, Place) {
        QueueOfWarp().Wait(*static_cast<const int*>(arguments[0]));
        if (block->races == nullptr) return;
        // Every lane knows that the reads are done.
        std::vector<int> lanes(32);
        for (int lane = 0; lane < 32; ++lane)
          lanes[static_cast<size_t>(lane)] = self->warp * 32 + lane;
        block->races->Synchronise(lanes, lanes);
      },
      at);
}

void SetRegisters(int count, Place at) {
  const InEmulator inside;
  RequireWarpgroup("setmaxnreg", at);
  if (count % 8 != 0 || count < 24 || count > 256) {
    Tell(Defect::kDevice, Text("setmaxnreg of %d registers, at %s", count, LineOf(at).c_str()));
  }
  while (block->free_registers < count - self->registers) {
    block->register_waiters.push_back(self->index);
    block->BlockOn("setmaxnreg, for registers that others do not give", at);
  }
  block->free_registers -= count - self->registers;
  if (count < self->registers) block->Wake(std::exchange(block->register_waiters, {}));
  self->registers = count;
}

}  // namespace annulus::emulator
