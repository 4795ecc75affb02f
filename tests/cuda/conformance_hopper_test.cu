// Instructions of Hopper do what is published of them: on the emulator, and on a GPU of sm_90.
#include <cuda.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <numeric>
#include <string>

#include "kernels/cuda/ptx.h"
#include "tests/cuda/layouts.h"
#include "tests/cuda/on_device.h"

namespace annulus {
namespace {

namespace ptx = kernels::cuda::ptx;

class Hopper : public testing::Test {
 protected:
  void SetUp() override {
    cudaDeviceProp properties;
    ASSERT_EQ(cudaGetDeviceProperties(&properties, 0), cudaSuccess);
    if (properties.major != 9) GTEST_SKIP() << "the device is not of sm_90";
  }
};

constexpr int kRows = 64, kDepth = 16;
constexpr size_t kImageBytes = 32 * 1024;  // of an operand in shared memory

struct Operand {
  uint32_t leading, stride;  // bytes
  ptx::Swizzle swizzle;
};
struct Product {
  const uint4* images;  // of both operands
  const uint32_t* a;    // [128,4], where the left operand is in registers
  Operand left, right;
  float* d;  // [128,kColumns / 2]
};

template <int kColumns, bool kRegisters, ptx::Major kLeft, ptx::Major kRight>
__global__ void WgmmaKernel(const Product p) {
  DYNAMIC_SHARED(memory);
  const unsigned thread = threadIdx.x;
  for (unsigned i = thread; i < 2 * kImageBytes / 16; i += 128) {
    reinterpret_cast<uint4*>(memory)[i] = p.images[i];
  }
  ptx::FenceProxyAsync();
  __syncthreads();
  const uint32_t a_at = ptx::SharedAddress(memory), b_at = a_at + kImageBytes;
  const uint64_t a = ptx::MatrixDescriptor(a_at, p.left.leading, p.left.stride, p.left.swizzle);
  const uint64_t b = ptx::MatrixDescriptor(b_at, p.right.leading, p.right.stride, p.right.swizzle);
  float d[kColumns / 2];
  for (float& x : d) x = 1000;  // the first product overwrites
  uint32_t registers[4];
  for (unsigned i = 0; i < 4; ++i) registers[i] = p.a[4 * thread + i];
  ptx::WgmmaFence();
  for (int twice = 0; twice < 2; ++twice) {
    if constexpr (kRegisters) {
      ptx::WgmmaRegistersShared<kColumns, kRight>(d, registers, b, twice > 0);
    } else {
      ptx::WgmmaSharedShared<kColumns, kRight, kLeft>(d, a, b, twice > 0);
    }
  }
  ptx::WgmmaCommit();
  ptx::WgmmaWait<0>(d);
  for (unsigned i = 0; i < kColumns / 2; ++i) p.d[thread * (kColumns / 2) + i] = d[i];
}

// Bytes of a permuted row, and the bits of its permutation: Swizzle<3,4,3> is of 128 bytes.
int WidthOf(ptx::Swizzle swizzle) {
  return swizzle == ptx::Swizzle::kNone ? 16 : 256 >> static_cast<int>(swizzle);
}
int BitsOf(ptx::Swizzle swizzle) {
  return swizzle == ptx::Swizzle::kNone ? 0 : 4 - static_cast<int>(swizzle);
}

// An operand of kRows or more rows as CuTe's canonical layouts (cute/arch/mma_sm90_desc.hpp) put
// it, with distances that cannot be taken for each other.
struct Image {
  Operand operand;
  std::vector<char> bytes = std::vector<char>(kImageBytes);

  Image(const std::vector<int>& x, int rows, ptx::Major major, ptx::Swizzle swizzle) {
    const int t = 8;  // elements of 16 bytes
    const int width = WidthOf(swizzle) / 16;
    const bool permuted = swizzle != ptx::Swizzle::kNone;
    int leading, stride;  // elements
    Layout row, column;
    if (major == ptx::Major::kK) {
      // ((8,m),(T,2)) : ((width T, SBO),(1, T or LBO))
      stride = permuted ? std::max(512, 8 * width * t) : 640;
      leading = permuted ? t : 320;
      row = {{8, rows / 8}, {width * t, stride}};
      column = {{t, 2}, {1, leading}};
    } else if (permuted) {
      // ((T,width,m),(8,k)) : ((1, T, LBO),(width T, SBO))
      stride = 512;
      leading = 2 * stride;
      row = {{t, width, rows / (t * width)}, {1, t, leading}};
      column = {{8, 2}, {width * t, stride}};
    } else {
      // ((T,1,m),(8,k)) : ((1, T, SBO),(T, LBO))
      stride = 128;
      leading = rows * stride / t;
      row = {{t, rows / t}, {1, stride}};
      column = {{8, 2}, {t, leading}};
    }
    operand = {static_cast<uint32_t>(2 * leading), static_cast<uint32_t>(2 * stride), swizzle};
    for (int mn = 0; mn < rows; ++mn) {
      for (int k = 0; k < kDepth; ++k) {
        const uint16_t bits = Bf16Bits(x[static_cast<size_t>(mn * kDepth + k)]);
        const int at = Swizzle(BitsOf(swizzle), 2 * (row(mn) + column(k)));
        std::memcpy(&bytes.at(static_cast<size_t>(at)), &bits, sizeof bits);
      }
    }
  }
};

template <int kColumns, bool kRegisters, ptx::Major kLeft, ptx::Major kRight>
void ExpectProduct(ptx::Swizzle left, ptx::Swizzle right) {
  SCOPED_TRACE("swizzles " + std::to_string(WidthOf(left)) + ", " + std::to_string(WidthOf(right)));
  const auto a = SmallNumbers(kRows * kDepth);
  const auto b = SmallNumbers(kColumns * kDepth);
  const Image left_image(a, kRows, kLeft, left), right_image(b, kColumns, kRight, right);
  std::vector<uint4> images(2 * kImageBytes / 16);
  std::memcpy(images.data(), left_image.bytes.data(), kImageBytes);
  std::memcpy(images.data() + kImageBytes / 16, right_image.bytes.data(), kImageBytes);
  // CuTe, ALayout_64x16 and CLayout_64xN: offsets m + 64 k and m + 64 n.
  const ThreadValueLayout a_of{{{4, 8, 4}, {128, 1, 16}}, {{2, 2, 2}, {64, 8, 512}}};
  const ThreadValueLayout d_of{{{4, 8, 4}, {128, 1, 16}}, {{2, 2, kColumns / 8}, {64, 8, 512}}};
  std::vector<uint32_t> registers;
  for (int i = 0; i < 128 * 4; ++i) {
    const auto element = [&](int v) {
      const int at = a_of(i / 4, v);
      return a[static_cast<size_t>(at % 64 * kDepth + at / 64)];
    };
    registers.push_back(PackedBf16(element(i % 4 * 2), element(i % 4 * 2 + 1)));
  }
  const OnDevice<uint4> on_images(images);
  const OnDevice<uint32_t> on_registers(registers);
  const OnDevice<float> d(128 * kColumns / 2);
  ASSERT_EQ(Launch({1, 128, 2 * kImageBytes}, WgmmaKernel<kColumns, kRegisters, kLeft, kRight>,
                   Product{on_images.get(), on_registers.get(), left_image.operand,
                           right_image.operand, d.get()}),
            cudaSuccess);
  const std::vector<float> result = d.Read();
  for (size_t i = 0; i < result.size(); ++i) {
    const int at = d_of(static_cast<int>(i) / (kColumns / 2), static_cast<int>(i) % (kColumns / 2));
    const auto m = static_cast<size_t>(at % 64 * kDepth), n = static_cast<size_t>(at / 64 * kDepth);
    const int sum = std::inner_product(a.begin() + static_cast<std::ptrdiff_t>(m),
                                       a.begin() + static_cast<std::ptrdiff_t>(m) + kDepth,
                                       b.begin() + static_cast<std::ptrdiff_t>(n), 0);
    ASSERT_EQ(result[i], static_cast<float>(2 * sum)) << "row " << at % 64 << " column " << at / 64;
  }
}

using ptx::Major;
constexpr std::array kSwizzles = {ptx::Swizzle::kNone, ptx::Swizzle::k128Bytes,
                                  ptx::Swizzle::k64Bytes, ptx::Swizzle::k32Bytes};
constexpr auto kWidest = ptx::Swizzle::k128Bytes;

TEST_F(Hopper, WgmmaReadsOperandsAlongK) {
  for (const auto swizzle : kSwizzles) {
    ExpectProduct<64, false, Major::kK, Major::kK>(swizzle, kWidest);
    ExpectProduct<64, false, Major::kK, Major::kK>(kWidest, swizzle);
  }
}

TEST_F(Hopper, WgmmaReadsOperandsAcrossK) {
  for (const auto swizzle : kSwizzles) {
    ExpectProduct<64, false, Major::kMN, Major::kK>(swizzle, kWidest);
    ExpectProduct<64, false, Major::kK, Major::kMN>(kWidest, swizzle);
    ExpectProduct<128, false, Major::kK, Major::kMN>(kWidest, swizzle);
  }
}

TEST_F(Hopper, WgmmaOfEveryWidthWithRegisters) {
  ExpectProduct<64, true, Major::kK, Major::kMN>(kWidest, kWidest);
  ExpectProduct<128, true, Major::kK, Major::kK>(kWidest, kWidest);
  ExpectProduct<192, true, Major::kK, Major::kK>(kWidest, kWidest);
  ExpectProduct<256, true, Major::kK, Major::kK>(kWidest, kWidest);
  ExpectProduct<192, false, Major::kK, Major::kK>(kWidest, kWidest);
  ExpectProduct<256, false, Major::kK, Major::kK>(kWidest, kWidest);
}

// ---- The copy engine.

constexpr int kBoxRows = 16;

// Copies two boxes, one after the other into the same place. Of the second sequence, if there are.
template <bool kSequences>
__global__ void FetchKernel(const __grid_constant__ CUtensorMap map, int x, int y, uint32_t bytes,
                            uint16_t* out) {
  DYNAMIC_SHARED(memory);
  const uint32_t to = ptx::SharedAddress(memory), barrier = to + bytes;
  const unsigned elements = bytes / 2;
  if (threadIdx.x == 0) {
    ptx::MbarrierInit(barrier, 1);
    ptx::FenceMbarrierInit();
  }
  __syncthreads();
  for (uint32_t round = 0; round < 2; ++round) {
    if (threadIdx.x == 0) {
      ptx::MbarrierArriveExpect(barrier, bytes);
      const int row = y + static_cast<int>(round) * kBoxRows;
      if constexpr (kSequences) {
        ptx::TmaLoad3d(to, &map, x, row, 1, barrier);
      } else {
        ptx::TmaLoad2d(to, &map, x, row, barrier);
      }
    }
    ptx::MbarrierWait(barrier, round);
    for (unsigned i = threadIdx.x; i < elements; i += blockDim.x) {
      out[round * elements + i] = reinterpret_cast<const uint16_t*>(memory)[i];
    }
    __syncthreads();
  }
}

using EncodeTiled = decltype(&cuTensorMapEncodeTiled);
EncodeTiled FindEncodeTiled() {
  void* entry = nullptr;
  cudaDriverEntryPointQueryResult result{};
  EXPECT_EQ(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &entry, 12000,
                                             cudaEnableDefault, &result),
            cudaSuccess);
  return reinterpret_cast<EncodeTiled>(entry);
}

// Rows between the sequences of a tensor of two.
constexpr int kGapRows = 3;

struct Boxes {
  int columns, rows;  // of the tensor, or of each of its two sequences
  int box_columns;
  CUtensorMapSwizzle swizzle;
};

CUtensorMap MapOf(const Boxes& b, bool sequences, uint16_t* data) {
  CUtensorMap map;
  const cuuint64_t dims[3] = {static_cast<cuuint64_t>(b.columns), static_cast<cuuint64_t>(b.rows),
                              2};
  const cuuint64_t strides[2] = {dims[0] * 2, (dims[1] + kGapRows) * dims[0] * 2};
  const cuuint32_t box[3] = {static_cast<cuuint32_t>(b.box_columns), kBoxRows, 1};
  const cuuint32_t steps[3] = {1, 1, 1};
  EXPECT_EQ(FindEncodeTiled()(&map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, sequences ? 3 : 2, data, dims,
                              strides, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE, b.swizzle,
                              CU_TENSOR_MAP_L2_PROMOTION_NONE, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE),
            CUDA_SUCCESS);
  return map;
}

template <bool kSequences>
void ExpectBoxes(const Boxes& b, int x, int y) {
  SCOPED_TRACE("swizzle " + std::to_string(b.swizzle) + " at " + std::to_string(x) + ", " +
               std::to_string(y) + (kSequences ? " of a sequence" : ""));
  const int first_row = kSequences ? b.rows + kGapRows : 0;
  std::vector<uint16_t> tensor(static_cast<size_t>(b.columns * (first_row + b.rows)));
  std::iota(tensor.begin(), tensor.end(), uint16_t{1});
  const OnDevice<uint16_t> on(tensor);
  const int elements = kBoxRows * b.box_columns;
  const OnDevice<uint16_t> out(static_cast<size_t>(2 * elements));
  const auto bytes = static_cast<uint32_t>(2 * elements);
  ASSERT_EQ(Launch({1, 64, bytes + 8}, FetchKernel<kSequences>, MapOf(b, kSequences, on.get()), x,
                   y, bytes, out.get()),
            cudaSuccess);
  const std::vector<uint16_t> result = out.Read();
  for (int i = 0; i < 2 * elements; ++i) {
    const int row = y + i / b.box_columns, column = x + i % b.box_columns;
    const bool inside = row >= 0 && row < b.rows && column >= 0 && column < b.columns;
    const int expected = inside ? (first_row + row) * b.columns + column + 1 : 0;
    const int at = Swizzle(b.swizzle, i % elements * 2) / 2 + i / elements * elements;
    ASSERT_EQ(result[static_cast<size_t>(at)], expected) << "row " << row << " column " << column;
  }
}

TEST_F(Hopper, TmaFetchesBoxesPermutesAndFillsWithZero) {
  for (const auto& [swizzle, columns] : {std::pair{CU_TENSOR_MAP_SWIZZLE_NONE, 40},
                                         {CU_TENSOR_MAP_SWIZZLE_32B, 16},
                                         {CU_TENSOR_MAP_SWIZZLE_64B, 32},
                                         {CU_TENSOR_MAP_SWIZZLE_128B, 64}}) {
    ExpectBoxes<false>({72, 50, columns, swizzle}, 0, 0);
    ExpectBoxes<false>({72, 50, columns, swizzle}, 61, 27);
    ExpectBoxes<false>({72, 50, columns, swizzle}, -5, -3);
    ExpectBoxes<true>({72, 50, columns, swizzle}, 3, 0);
    ExpectBoxes<true>({72, 50, columns, swizzle}, 61, 37);
    ExpectBoxes<true>({72, 50, columns, swizzle}, -5, -3);
  }
}

// A producer warp and a consumer warp hand numbers over through a ring of two places.
__global__ void RingKernel(int count, int* out) {
  DYNAMIC_SHARED(memory);
  auto* words = reinterpret_cast<int*>(memory + 64);
  const uint32_t barriers = ptx::SharedAddress(memory);
  const auto full = [barriers](int place) { return barriers + 8 * static_cast<uint32_t>(place); };
  const auto empty = [full](int place) { return full(2 + place); };
  const int lane = static_cast<int>(threadIdx.x) % 32;
  if (threadIdx.x == 0) {
    for (int place = 0; place < 2; ++place) {
      ptx::MbarrierInit(full(place), 32);
      ptx::MbarrierInit(empty(place), 32);
    }
    ptx::FenceMbarrierInit();
  }
  __syncthreads();
  for (int i = 0; i < count; ++i) {
    const int place = i % 2;
    const auto parity = static_cast<uint32_t>(i / 2 % 2);
    if (threadIdx.x < 32) {
      ptx::MbarrierWait(empty(place), parity ^ 1);
      words[place * 32 + lane] = 100 * i + lane;
      ptx::MbarrierArrive(full(place));
    } else {
      ptx::MbarrierWait(full(place), parity);
      out[i * 32 + lane] = words[place * 32 + 31 - lane];
      ptx::MbarrierArrive(empty(place));
    }
  }
}

TEST_F(Hopper, MbarriersCountArrivalsAndPhases) {
  constexpr int kCount = 7;
  const OnDevice<int> out(kCount * 32);
  ASSERT_EQ(Launch({1, 64, 64 + 64 * sizeof(int)}, RingKernel, kCount, out.get()), cudaSuccess);
  const std::vector<int> result = out.Read();
  for (int i = 0; i < kCount * 32; ++i) {
    EXPECT_EQ(result[static_cast<size_t>(i)], 100 * (i / 32) + 31 - i % 32);
  }
}

// Four matrices of registers to shared memory, of which lane 8 m + r names row r of matrix m.
__global__ void StMatrixKernel(uint32_t* out) {
  DYNAMIC_SHARED(memory);
  const uint32_t lane = threadIdx.x;
  const uint32_t r[4] = {lane, 100 + lane, 200 + lane, 300 + lane};
  ptx::StMatrixX4(ptx::SharedAddress(memory) + 16 * lane, r);
  __syncwarp();
  for (unsigned i = lane; i < 128; i += 32) out[i] = reinterpret_cast<uint32_t*>(memory)[i];
}

TEST_F(Hopper, StMatrixPutsPairsOfALaneInARow) {
  const OnDevice<uint32_t> out(128);
  ASSERT_EQ(Launch({1, 32, 512}, StMatrixKernel, out.get()), cudaSuccess);
  const std::vector<uint32_t> words = out.Read();
  // Lane 4 g + t holds the t-th pair of row g of every matrix; a row is 4 words.
  for (uint32_t m = 0; m < 4; ++m) {
    for (uint32_t lane = 0; lane < 32; ++lane) EXPECT_EQ(words[32 * m + lane], 100 * m + lane);
  }
}

// Blocks draw turns and add to the same sums, each when it is its turn.
constexpr unsigned kAdders = 300, kSums = 256;
__host__ __device__ float Addend(unsigned turn, unsigned i) {
  return (turn % 2 == 0 ? 1.0f : -1.0f) * static_cast<float>(1 << turn * 7 % 23) +
         static_cast<float>(i + turn) / 16;
}
__global__ void AddByTurns(unsigned* drawn, int* word, float* sums) {
  DYNAMIC_SHARED(memory);
  auto* own = reinterpret_cast<float*>(memory + 16);
  auto& turn = *reinterpret_cast<unsigned*>(memory);
  if (threadIdx.x == 0) turn = atomicInc(drawn, gridDim.x - 1);
  __syncthreads();
  own[threadIdx.x] = Addend(turn, threadIdx.x);
  ptx::FenceProxyAsync();
  __syncthreads();
  if (threadIdx.x != 0) return;
  ptx::WaitAcquire(word, static_cast<int>(turn));
  ptx::FenceProxyAsyncGlobal();
  ptx::BulkAdd(sums, ptx::SharedAddress(own), kSums * sizeof(float));
  ptx::BulkCommit();
  ptx::BulkWaitRead<0>();
  ptx::BulkWait<0>();
  ptx::StoreRelease(word, static_cast<int>(turn + 1 == gridDim.x ? 0 : turn + 1));
}

// Twice, for counter and word are to be at rest again: the same bits as one after another.
TEST_F(Hopper, SumsByTurnsHaveTheBitsOfTheirOrder) {
  const OnDevice<unsigned> drawn(std::vector<unsigned>{0});
  const OnDevice<int> word(std::vector<int>{0});
  const OnDevice<float> sums(std::vector<float>(kSums, 0));
  std::vector<float> expected(kSums, 0);
  for (int twice = 0; twice < 2; ++twice) {
    ASSERT_EQ(Launch({kAdders, kSums, 16 + kSums * sizeof(float)}, AddByTurns, drawn.get(),
                     word.get(), sums.get()),
              cudaSuccess);
    for (unsigned turn = 0; turn < kAdders; ++turn) {
      for (unsigned i = 0; i < kSums; ++i) expected[i] += Addend(turn, i);
    }
  }
  EXPECT_EQ(sums.Read(), expected);
}

}  // namespace
}  // namespace annulus
