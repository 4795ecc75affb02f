// Products of warpgroups on Hopper's tensor cores (wgmma, sm_90a): four warps, 64 rows, 16 of them
// to each, operands in shared memory or, the left one, in registers. They run asynchronously.
//
// Accumulators: register 4 j + r of a lane is row g + 8 (r / 2) of its warp's 16, column 8 j + 2 t
// + r % 2, as those of MmaBf16; so is the left operand in registers. Source: PTX ISA 9.0,
// "Asynchronous Warpgroup Level Matrix Instructions".
#pragma once

#include "kernels/cuda/ptx_body.h"

namespace annulus::kernels::cuda::ptx {

// Which dim of an operand is contiguous in shared memory: the one that is summed over, or the
// other.
enum class Major : uint8_t { kK, kMN };

// How the 16-byte chunks of shared memory are permuted: within 8 rows of so many bytes.
enum class Swizzle : uint32_t { kNone = 0, k128Bytes = 1, k64Bytes = 2, k32Bytes = 3 };

// Describes an operand at a shared address. What the two distances, multiples of 16 bytes, are
// between:
//   kK, permuted    leading unused, stride: groups of 8 rows
//   kK, kNone       leading: the two halves of K, stride: groups of 8 rows
//   kMN, permuted   leading: blocks of as many rows as the permutation's bytes hold, stride: groups
//   of
//                   8 along K
//   kMN, kNone      leading: groups of 8 along K, stride: groups of 8 rows
// A permuted operand starts in its first permuted 8 rows; their base is aligned to their size.
__device__ __forceinline__ uint64_t MatrixDescriptor(uint32_t address, uint32_t leading,
                                                     uint32_t stride, Swizzle swizzle) {
  return static_cast<uint64_t>((address & 0x3ffff) >> 4) |
         static_cast<uint64_t>((leading & 0x3ffff) >> 4) << 16 |
         static_cast<uint64_t>((stride & 0x3ffff) >> 4) << 32 |
         static_cast<uint64_t>(swizzle) << 62;
}

// Before the first product and whenever accumulators or operands in registers were written since.
ANNULUS_PTX void WgmmaFence() {
  ANNULUS_PTX_BODY(asm volatile("wgmma.fence.sync.aligned;" ::
                                    : "memory"),
                   emulator::WgmmaFence(ANNULUS_PTX_AT));
}

// Ends a group of products.
ANNULUS_PTX void WgmmaCommit() {
  ANNULUS_PTX_BODY(asm volatile("wgmma.commit_group.sync.aligned;" ::
                                    : "memory"),
                   emulator::WgmmaCommit(ANNULUS_PTX_AT));
}

// Until at most kPending groups are under way; `d` may be read then.
template <int kPending, int kCount>
ANNULUS_PTX void WgmmaWait([[maybe_unused]] float (&d)[kCount]) {
  ANNULUS_PTX_BODY(
      asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending)
                   : "memory");
      _Pragma("unroll") for (int i = 0; i < kCount; ++i) {
        asm volatile("" : "+f"(d[i])::"memory");
      },
      emulator::WgmmaWait(kPending, ANNULUS_PTX_AT));
}

// What comes after is not done before `known` is computed. (The assembler moves waits for products
// ahead of arithmetic that does not need them, and nothing is left to do meanwhile. It moves none
// across a branch: this one is never taken, as no arithmetic gives a NaN of these bits.)
ANNULUS_PTX void StayBehind([[maybe_unused]] float known) {
  ANNULUS_PTX_BODY(
      asm volatile("{\n.reg .pred p;\nsetp.eq.b32 p, %0, 0x7fc0beef;\n"
                   "vote.sync.any.pred p, p, 0xffffffff;\n@p trap;\n}" ::"r"(__float_as_int(known))
                   : "memory"),
      (void)0);
}

#ifdef __CUDACC__
// The two instructions for products of kColumns columns.
template <int kColumns>
struct WgmmaForm;

// clang-format off
#define ANNULUS_REGISTERS_8(i) \
  "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), \
  "+f"(d[i + 4]), "+f"(d[i + 5]), "+f"(d[i + 6]), "+f"(d[i + 7])
#define ANNULUS_REGISTERS_32(i) \
  ANNULUS_REGISTERS_8(i), ANNULUS_REGISTERS_8(i + 8), \
  ANNULUS_REGISTERS_8(i + 16), ANNULUS_REGISTERS_8(i + 24)
#define ANNULUS_REGISTERS_64 ANNULUS_REGISTERS_32(0), ANNULUS_REGISTERS_32(32)
#define ANNULUS_REGISTERS_96 ANNULUS_REGISTERS_64, ANNULUS_REGISTERS_32(64)
#define ANNULUS_REGISTERS_128 ANNULUS_REGISTERS_96, ANNULUS_REGISTERS_32(96)
#define ANNULUS_OPERANDS_32 \
  "%0, %1, %2, %3, %4, %5, %6, %7, " \
  "%8, %9, %10, %11, %12, %13, %14, %15, " \
  "%16, %17, %18, %19, %20, %21, %22, %23, " \
  "%24, %25, %26, %27, %28, %29, %30, %31"
#define ANNULUS_OPERANDS_64 \
  ANNULUS_OPERANDS_32 ", " \
  "%32, %33, %34, %35, %36, %37, %38, %39, " \
  "%40, %41, %42, %43, %44, %45, %46, %47, " \
  "%48, %49, %50, %51, %52, %53, %54, %55, " \
  "%56, %57, %58, %59, %60, %61, %62, %63"
#define ANNULUS_OPERANDS_96 \
  ANNULUS_OPERANDS_64 ", " \
  "%64, %65, %66, %67, %68, %69, %70, %71, " \
  "%72, %73, %74, %75, %76, %77, %78, %79, " \
  "%80, %81, %82, %83, %84, %85, %86, %87, " \
  "%88, %89, %90, %91, %92, %93, %94, %95"
#define ANNULUS_OPERANDS_128 \
  ANNULUS_OPERANDS_96 ", " \
  "%96, %97, %98, %99, %100, %101, %102, %103, " \
  "%104, %105, %106, %107, %108, %109, %110, %111, " \
  "%112, %113, %114, %115, %116, %117, %118, %119, " \
  "%120, %121, %122, %123, %124, %125, %126, %127"

// o0 to o6: the operands behind the accumulators.
#define ANNULUS_WGMMA_FORM(columns, operands, registers, o0, o1, o2, o3, o4, o5, o6)              \
  template <>                                                                                     \
  struct WgmmaForm<columns> {                                                                     \
    template <Major kLeft, Major kRight>                                                          \
    __device__ __forceinline__ static void SharedShared(float (&d)[columns / 2], uint64_t a,      \
                                                        uint64_t b, int accumulate) {             \
      asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" #o2 ", 0;\n"                              \
                   "wgmma.mma_async.sync.aligned.m64n" #columns "k16.f32.bf16.bf16 "              \
                   "{" operands "}, %" #o0 ", %" #o1 ", p, 1, 1, %" #o3 ", %" #o4 ";\n}"          \
                   : registers                                                                    \
                   : "l"(a), "l"(b), "r"(accumulate), "n"(kLeft == Major::kMN),                   \
                     "n"(kRight == Major::kMN));                                                  \
    }                                                                                             \
    template <Major kRight>                                                                       \
    __device__ __forceinline__ static void RegistersShared(float (&d)[columns / 2],               \
                                                           const uint32_t (&a)[4], uint64_t b,    \
                                                           int accumulate) {                      \
      asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" #o5 ", 0;\n"                              \
                   "wgmma.mma_async.sync.aligned.m64n" #columns "k16.f32.bf16.bf16 "              \
                   "{" operands "}, {%" #o0 ", %" #o1 ", %" #o2 ", %" #o3 "}, %" #o4              \
                   ", p, 1, 1, %" #o6 ";\n}"                                                      \
                   : registers                                                                    \
                   : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate),         \
                     "n"(kRight == Major::kMN));                                                  \
    }                                                                                             \
  };
ANNULUS_WGMMA_FORM(64, ANNULUS_OPERANDS_32, ANNULUS_REGISTERS_32(0), 32, 33, 34, 35, 36, 37, 38)
ANNULUS_WGMMA_FORM(128, ANNULUS_OPERANDS_64, ANNULUS_REGISTERS_64, 64, 65, 66, 67, 68, 69, 70)
ANNULUS_WGMMA_FORM(192, ANNULUS_OPERANDS_96, ANNULUS_REGISTERS_96, 96, 97, 98, 99, 100, 101, 102)
ANNULUS_WGMMA_FORM(256, ANNULUS_OPERANDS_128, ANNULUS_REGISTERS_128, 128, 129, 130, 131, 132, 133, 134)
#undef ANNULUS_WGMMA_FORM
#undef ANNULUS_REGISTERS_8
#undef ANNULUS_REGISTERS_32
#undef ANNULUS_REGISTERS_64
#undef ANNULUS_REGISTERS_96
#undef ANNULUS_REGISTERS_128
#undef ANNULUS_OPERANDS_32
#undef ANNULUS_OPERANDS_64
#undef ANNULUS_OPERANDS_96
#undef ANNULUS_OPERANDS_128
// clang-format on
#endif

// d [64 x kColumns] (+)= a [64 x 16] b [16 x kColumns] of bf16, from descriptors: kRight says which
// dim of b is contiguous, kLeft which of a; adds to d if `accumulate`, which all lanes agree on.
// kColumns is 64, 128, 192 or 256.
template <int kColumns, Major kRight, Major kLeft = Major::kK>
ANNULUS_PTX void WgmmaSharedShared(float (&d)[kColumns / 2], uint64_t a, uint64_t b,
                                   bool accumulate) {
  ANNULUS_PTX_BODY((WgmmaForm<kColumns>::template SharedShared<kLeft, kRight>(d, a, b, accumulate)),
                   emulator::Wgmma({d, nullptr, a, b, kColumns, kLeft == Major::kMN,
                                    kRight == Major::kMN, accumulate},
                                   ANNULUS_PTX_AT));
}

// The same with a in registers. They may be used again only when the product is complete.
template <int kColumns, Major kRight>
ANNULUS_PTX void WgmmaRegistersShared(float (&d)[kColumns / 2], const uint32_t (&a)[4], uint64_t b,
                                      bool accumulate) {
  ANNULUS_PTX_BODY((WgmmaForm<kColumns>::template RegistersShared<kRight>(d, a, b, accumulate)),
                   emulator::Wgmma({d, a, 0, b, kColumns, false, kRight == Major::kMN, accumulate},
                                   ANNULUS_PTX_AT));
}

}  // namespace annulus::kernels::cuda::ptx
