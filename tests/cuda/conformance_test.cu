// Instructions of sm_80 do what is published of them: on the emulator, and on a GPU.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <numeric>

#include "kernels/cuda/ptx.h"
#include "tests/cuda/layouts.h"
#include "tests/cuda/on_device.h"

namespace annulus {
namespace {

namespace ptx = kernels::cuda::ptx;

struct Fragments {
  const uint32_t* a;  // [32,4]
  const uint32_t* b;  // [32,2]
  float* d;           // [32,4], accumulates
};

template <bool kTf32>
__global__ void MmaKernel(const Fragments f) {
  const unsigned lane = threadIdx.x;
  uint32_t a[4];
  float d[4];
  for (unsigned i = 0; i < 4; ++i) {
    a[i] = f.a[4 * lane + i];
    d[i] = f.d[4 * lane + i];
  }
  const uint32_t b0 = f.b[2 * lane], b1 = f.b[2 * lane + 1];
  kTf32 ? ptx::MmaTf32(d, a, b0, b1) : ptx::MmaBf16(d, a, b0, b1);
  for (unsigned i = 0; i < 4; ++i) f.d[4 * lane + i] = d[i];
}

// Matrices [16,K] [K,8], the first dim fastest in memory, as CuTe counts them.
struct Matrices {
  int depth;
  std::vector<int> a, b, d;

  explicit Matrices(int k)
      : depth(k),
        a(SmallNumbers(static_cast<size_t>(16 * k))),
        b(SmallNumbers(static_cast<size_t>(8 * k))),
        d(SmallNumbers(16 * 8)) {}

  // Element i of d + a b; b counts columns fastest.
  float Expected(int i) const {
    int sum = d[static_cast<size_t>(i)];
    for (int k = 0; k < depth; ++k) {
      sum += a[static_cast<size_t>(i % 16 + 16 * k)] * b[static_cast<size_t>(i / 16 + 8 * k)];
    }
    return static_cast<float>(sum);
  }
};

// CuTe, SM80_16x8_Row.
const ThreadValueLayout kResult{{{4, 8}, {32, 1}}, {{2, 2}, {16, 8}}};

template <bool kTf32>
void ExpectProduct(const Matrices& m, const std::vector<uint32_t>& a,
                   const std::vector<uint32_t>& b) {
  std::vector<float> d(128);
  for (int i = 0; i < 128; ++i) {
    d[static_cast<size_t>(i)] = static_cast<float>(m.d[static_cast<size_t>(kResult(i / 4, i % 4))]);
  }
  const OnDevice<uint32_t> on_a(a), on_b(b);
  const OnDevice<float> on_d(d);
  ASSERT_EQ(Launch({}, MmaKernel<kTf32>, Fragments{on_a.get(), on_b.get(), on_d.get()}),
            cudaSuccess);
  d = on_d.Read();
  for (int i = 0; i < 128; ++i) {
    EXPECT_EQ(d[static_cast<size_t>(i)], m.Expected(kResult(i / 4, i % 4))) << "register " << i;
  }
}

TEST(Conformance, MmaBf16) {
  // CuTe, MMA_Traits<SM80_16x8x16_F32BF16BF16F32_TN>.
  const ThreadValueLayout a_of{{{4, 8}, {32, 1}}, {{2, 2, 2}, {16, 8, 128}}};
  const ThreadValueLayout b_of{{{4, 8}, {16, 1}}, {{2, 2}, {8, 64}}};
  const Matrices m(16);
  std::vector<uint32_t> a, b;
  const auto at = [](const std::vector<int>& x, int i) { return x[static_cast<size_t>(i)]; };
  for (int t = 0; t < 32; ++t) {
    for (int r = 0; r < 4; ++r) {
      a.push_back(PackedBf16(at(m.a, a_of(t, 2 * r)), at(m.a, a_of(t, 2 * r + 1))));
    }
    for (int r = 0; r < 2; ++r) {
      b.push_back(PackedBf16(at(m.b, b_of(t, 2 * r)), at(m.b, b_of(t, 2 * r + 1))));
    }
  }
  ExpectProduct<false>(m, a, b);
}

TEST(Conformance, MmaTf32) {
  // CuTe, MMA_Traits<SM80_16x8x8_F32TF32TF32F32_TN>.
  const ThreadValueLayout a_of{{{4, 8}, {16, 1}}, {{2, 2}, {8, 64}}};
  const ThreadValueLayout b_of{{{4, 8}, {8, 1}}, {{2}, {32}}};
  const Matrices m(8);
  std::vector<uint32_t> a, b;
  const auto bits = [](const std::vector<int>& x, int i) {
    return std::bit_cast<uint32_t>(static_cast<float>(x[static_cast<size_t>(i)]));
  };
  for (int t = 0; t < 32; ++t) {
    for (int r = 0; r < 4; ++r) a.push_back(bits(m.a, a_of(t, r)));
    for (int r = 0; r < 2; ++r) b.push_back(bits(m.b, b_of(t, r)));
  }
  ExpectProduct<true>(m, a, b);
}

// Registers of ldmatrix from matrices whose element i is i: x4, x4.trans, x2, x2.trans, x1,
// x1.trans.
constexpr unsigned kLoads = 14;
__global__ void LdMatrixKernel(uint32_t* out) {
  DYNAMIC_SHARED(memory);
  auto* elements = reinterpret_cast<uint16_t*>(memory);
  const unsigned lane = threadIdx.x;
  for (unsigned i = lane; i < 256; i += 32) elements[i] = static_cast<uint16_t>(i);
  __syncwarp();
  const uint32_t row = ptx::SharedAddress(elements + 8 * lane);
  uint32_t x4[2][4], x2[2][2], x1[2];
  ptx::LdMatrixX4(x4[0], row);
  ptx::LdMatrixX4Trans(x4[1], row);
  ptx::LdMatrixX2(x2[0], row);
  ptx::LdMatrixX2Trans(x2[1], row);
  ptx::LdMatrixX1(x1[0], row);
  ptx::LdMatrixX1Trans(x1[1], row);
  uint32_t* to = out + kLoads * lane;
  for (unsigned trans = 0; trans < 2; ++trans) {
    for (unsigned r = 0; r < 4; ++r) *to++ = x4[trans][r];
    for (unsigned r = 0; r < 2; ++r) *to++ = x2[trans][r];
    *to++ = x1[trans];
  }
}

TEST(Conformance, LdMatrix) {
  const OnDevice<uint32_t> out(32 * kLoads);
  ASSERT_EQ(Launch({1, 32, 512}, LdMatrixKernel, out.get()), cudaSuccess);
  const std::vector<uint32_t> registers = out.Read();
  for (unsigned i = 0; i < registers.size(); ++i) {
    const unsigned lane = i / kLoads, load = i % kLoads;
    const bool transposed = load >= kLoads / 2;
    const unsigned place = load % (kLoads / 2);
    const unsigned matrix = place < 4 ? place : place < 6 ? place - 4 : 0;
    // PTX ISA, ldmatrix: row and pair of a lane.
    const unsigned row = lane / 4, column = lane % 4 * 2;
    const auto element = [&](unsigned e) {
      return 64 * matrix + (transposed ? 8 * (column + e) + row : 8 * row + column + e);
    };
    EXPECT_EQ(registers[i], element(0) | element(1) << 16) << "lane " << lane << " load " << load;
  }
}

__global__ void CopyKernel(const uint32_t* from, uint32_t* to, unsigned exists) {
  DYNAMIC_SHARED(memory);
  auto* words = reinterpret_cast<uint32_t*>(memory);
  const unsigned i = threadIdx.x;
  ptx::CpAsync16(ptx::SharedAddress(words + 4 * i), from + 4 * i, i < exists);
  ptx::CpAsyncCommit();
  ptx::CpAsyncSmall<8>(ptx::SharedAddress(words + 256 + 2 * i), from + 2 * i, i < exists);
  ptx::CpAsyncSmall<4>(ptx::SharedAddress(words + 512 + i), from + i, i < exists);
  ptx::CpAsyncCommit();
  ptx::CpAsyncWait<1>();
  __syncthreads();
  for (unsigned w = i; w < 256; w += blockDim.x) to[w] = words[255 - w];
  ptx::CpAsyncWait<0>();
  __syncthreads();
  for (unsigned w = i; w < 320; w += blockDim.x) to[256 + w] = words[256 + w];
}

TEST(Conformance, CpAsync) {
  std::vector<uint32_t> host(256);
  std::iota(host.begin(), host.end(), 1000u);
  const OnDevice<uint32_t> from(host), to(576);
  constexpr unsigned kExists = 39;
  ASSERT_EQ(Launch({1, 64, 576 * 4}, CopyKernel, static_cast<const uint32_t*>(from.get()), to.get(),
                   kExists),
            cudaSuccess);
  const std::vector<uint32_t> result = to.Read();
  for (unsigned w = 0; w < 256; ++w) {
    EXPECT_EQ(result[255 - w], w / 4 < kExists ? 1000 + w : 0);
  }
  for (unsigned w = 0; w < 128; ++w) {
    EXPECT_EQ(result[256 + w], w / 2 < kExists ? 1000 + w : 0);
  }
  for (unsigned w = 0; w < 64; ++w) EXPECT_EQ(result[512 + w], w < kExists ? 1000 + w : 0);
}

// The second half of the block hands over to the first by a named barrier.
__global__ void HandOver(int* out) {
  DYNAMIC_SHARED(memory);
  auto* words = reinterpret_cast<int*>(memory);
  const int i = static_cast<int>(threadIdx.x), half = static_cast<int>(blockDim.x) / 2;
  if (i >= half) {
    words[i - half] = 3 * i;
    ptx::BarArrive(1, 2 * half);
  } else {
    ptx::BarSync(1, 2 * half);
    out[i] = words[half - 1 - i];
  }
}

TEST(Conformance, NamedBarriers) {
  const OnDevice<int> out(96);
  ASSERT_EQ(Launch({1, 192, 96 * sizeof(int)}, HandOver, out.get()), cudaSuccess);
  const std::vector<int> result = out.Read();
  for (int i = 0; i < 96; ++i) EXPECT_EQ(result[static_cast<size_t>(i)], 3 * (191 - i));
}

struct Functions {
  float exp2, log2, reciprocal;
  uint32_t packed, tf32;
};
__global__ void FunctionKernel(const float* x, Functions* out) {
  const unsigned i = threadIdx.x;
  out[i] = {ptx::Exp2(x[i]), ptx::Log2(x[i]), ptx::Reciprocal(x[i]), ptx::PackBf16(x[i], -x[i]),
            ptx::ToTf32(x[i])};
}

TEST(Conformance, Functions) {
  std::vector<float> x(64);
  std::mt19937 random(std::random_device{}());
  for (float& value : x) value = std::uniform_real_distribution<float>(0.01f, 20.0f)(random);
  x[0] = 1 + 0x1p-8f;      // a tie of bf16, to even
  x[1] = 1 + 3 * 0x1p-8f;  // the same, upwards
  x[2] = 1 + 0x1p-11f;     // a tie of tf32, away from 0
  const OnDevice<float> on(x);
  const OnDevice<Functions> out(x.size());
  ASSERT_EQ(Launch({1, 64}, FunctionKernel, static_cast<const float*>(on.get()), out.get()),
            cudaSuccess);
  const std::vector<Functions> result = out.Read();
  for (size_t i = 0; i < x.size(); ++i) {
    // Errors that the PTX ISA states, with some rounding of their own.
    EXPECT_NEAR(result[i].exp2 / std::exp2(x[i]), 1, 0x1p-21);
    EXPECT_NEAR(result[i].log2, std::log2(x[i]), 0x1p-20);
    EXPECT_NEAR(result[i].reciprocal * x[i], 1, 0x1p-22);
    EXPECT_EQ(result[i].packed, kernels::ToBFloat16(x[i]).bits |
                                    static_cast<uint32_t>(kernels::ToBFloat16(-x[i]).bits) << 16);
    EXPECT_EQ(result[i].tf32 & 0x1fff, 0u);
    EXPECT_LE(std::abs(std::bit_cast<float>(result[i].tf32) - x[i]), x[i] * 0x1p-11f);
  }
  EXPECT_EQ(std::bit_cast<float>(result[2].tf32), 1 + 0x1p-10f);
  EXPECT_EQ(result[0].packed & 0xffff, 0x3f80u);
  EXPECT_EQ(result[1].packed & 0xffff, 0x3f82u);
}

}  // namespace
}  // namespace annulus
