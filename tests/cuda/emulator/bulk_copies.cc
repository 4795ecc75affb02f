// Boxes that the copy engine (TMA) brings to shared memory. Source: PTX ISA,
// "cp.async.bulk.tensor".
#include <cstring>

#include "tests/cuda/emulator/access.h"
#include "tests/cuda/emulator/block.h"
#include "tests/cuda/emulator/hopper.h"
#include "tests/cuda/emulator/mbarriers.h"
#include "tests/cuda/emulator/memory.h"
#include "tests/cuda/emulator/text.h"

namespace annulus::emulator {
namespace {

struct Box {
  TensorMap map;
  std::array<int, kMostDims> first;
  uint32_t to;
  uint32_t row_bytes;  // of the innermost dim
  uint32_t rows;

  uint32_t bytes() const { return rows * row_bytes; }
};

Box BoxOf(const BoxCopy& copy) {
  Box box{{}, copy.first, copy.to, 0, 1};
  std::memcpy(static_cast<void*>(&box.map), copy.map, sizeof box.map);
  box.row_bytes = box.map.box[0] * uint32_t{box.map.element_bytes};
  for (size_t d = 1; d < box.map.rank; ++d) box.rows *= box.map.box[d];
  return box;
}

// Elements [begin, end) of a row of the box exist, from `data` on.
struct RowPart {
  const std::byte* data = nullptr;
  int begin = 0, end = 0;
};

RowPart FindRow(const Box& box, uint32_t row) {
  const TensorMap& map = box.map;
  const auto* data = static_cast<const std::byte*>(map.data);
  for (size_t d = 1; d < map.rank; ++d) {
    const int64_t at = box.first[d] + static_cast<int64_t>(row % map.box[d]);
    row /= map.box[d];
    if (at < 0 || at >= static_cast<int64_t>(map.dims[d])) return {};
    data += static_cast<uint64_t>(at) * map.strides[d - 1];
  }
  const int64_t first = box.first[0];
  const int64_t begin = std::max<int64_t>(first, 0);
  const int64_t end = std::min<int64_t>(first + map.box[0], map.dims[0]);
  if (begin >= end) return {};
  return {data + begin * map.element_bytes, static_cast<int>(begin - first),
          static_cast<int>(end - first)};
}

// 16 bytes stay together under every permutation.
constexpr uint32_t kPieceBytes = 16;

void Bring(const Box& box) {
  const uint32_t element = box.map.element_bytes;
  const auto swizzle = static_cast<CUtensorMapSwizzle>(box.map.swizzle);
  std::array<std::byte, 256 * 4> line{};
  for (uint32_t row = 0; row < box.rows; ++row) {
    const RowPart part = FindRow(box, row);
    std::memset(line.data(), 0, box.row_bytes);
    if (part.data != nullptr) {
      std::memcpy(line.data() + static_cast<uint32_t>(part.begin) * element, part.data,
                  static_cast<uint32_t>(part.end - part.begin) * element);
    }
    for (uint32_t byte = 0; byte < box.row_bytes; byte += kPieceBytes) {
      const uint32_t to = Swizzled(box.to + row * box.row_bytes + byte, swizzle);
      std::memcpy(block->shared.At(to, kPieceBytes, "TMA", nullptr), line.data() + byte,
                  kPieceBytes);
    }
  }
}

void CheckSource(const Box& box, Place at) {
  for (uint32_t row = 0; row < box.rows; ++row) {
    const RowPart part = FindRow(box, row);
    const auto bytes = static_cast<size_t>(part.end - part.begin) * box.map.element_bytes;
    if (bytes > 0) CheckAccess({part.data, bytes, Access::kRead, at, -1, false});
  }
}

}  // namespace

void TmaLoad(const BoxCopy& copy, Place at) {
  const InEmulator inside;
  RequireCapability(90, "cp.async.bulk.tensor", at);
  const Box box = BoxOf(copy);
  if (box.map.magic != TensorMap::kMagic) {
    Tell(Defect::kMemory, "TMA is given no tensor map, at " + LineOf(at));
    block->GiveUp();
  }
  if (copy.to % 128 != 0) {
    Tell(Defect::kMemory, Text("TMA writes to 0x%x, which is not aligned to 128 bytes, at %s",
                               copy.to, LineOf(at).c_str()));
  }
  CheckMbarrier(copy.barrier, "TMA", at);
  CheckSource(box, at);
  std::byte* to = block->shared.At(copy.to, box.bytes(), "TMA", at);
  if (!block->shared.Holds(copy.to, box.bytes())) block->GiveUp();
  const SharedAccess write{
      copy.to - kSharedWindow, box.bytes(), Access::kWrite, self->index, at, Proxy::kAsync};
  if (block->races != nullptr) block->races->BeginAsync(write);
  std::memset(to, 0xff, box.bytes());
  auto act = [box, write, barrier = copy.barrier] {
    Bring(box);
    if (block->races != nullptr) {
      SharedAccess done = write;
      done.thread = block->races->engine();
      block->races->EndAsync(done);
    }
    CompleteBytes(barrier, box.bytes());
  };
  if (block->EffectNow()) {
    act();
  } else {
    block->bulk_actions.push_back(act);
  }
}

}  // namespace annulus::emulator
