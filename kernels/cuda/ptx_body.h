// How instructions are given two bodies: inline assembly for nvcc, a call to the emulator for other
// compilers, whose <cuda_runtime.h> declares it (tests/cuda/emulator).
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#ifdef __CUDACC__

#define ANNULUS_PTX __device__ __forceinline__
#define ANNULUS_PTX_BODY(assembly, emulation) assembly
// The block's dynamic shared memory as unsigned char name[], aligned to 1024. One alignment for all
// kernels of a translation unit, as they share the symbol.
#define DYNAMIC_SHARED(name) extern __shared__ __align__(1024) unsigned char name[]

#else

// Not inlined: the address that it returns to is the kernel's line in reports.
#define ANNULUS_PTX inline __attribute__((noinline, no_sanitize("thread")))
#define ANNULUS_PTX_BODY(assembly, emulation) emulation
#define ANNULUS_PTX_AT __builtin_return_address(0)
#define DYNAMIC_SHARED(name) unsigned char* const name = ::annulus::emulator::DynamicShared()

#endif
