// The kernels behind attention.h, one function per kernel and pass. Each puts one fold on a stream.
//
// Shapes are those of FoldShape; T is bf16 where a name says Mma or Hopper, else that of the
// problem.
#pragma once

#include <cuda_runtime.h>

#include "kernels/base/bfloat16.h"
#include "kernels/cuda/attention/geometry.h"
#include "kernels/cuda/attention/state.h"

namespace annulus::kernels::cuda {

inline constexpr float kLog2E = 1.4426950408889634f;
inline constexpr float kLn2 = 0.6931471805599453f;

// What the last fold of a forward pass overwrites.
template <class T>
struct ForwardOutputs {
  T* out = nullptr;      // [B,T,H,D]
  float* lse = nullptr;  // [B,H,T]; null: this fold is not the last
};

template <class T>
ForwardOutputs<T> OutputsOf(const AttentionOutputs& outputs) {
  return {outputs.out.As<T>(), outputs.lse.As<float>()};
}

// What a fold of the forward pass reads and accumulates into. The last one need not
// write the state.
template <class T>
struct ForwardFold {
  FoldShape shape;
  DeviceMask mask;
  TileTable queries;
  TileTable keys;
  const T* q = nullptr;
  const T* k = nullptr;
  const T* v = nullptr;
  float* out = nullptr;
  float* max = nullptr;
  float* sum = nullptr;
  ForwardOutputs<T> outputs;
};

// What a fold of the backward pass reads and accumulates into.
template <class T>
struct BackwardFold {
  FoldShape shape;
  DeviceMask mask;
  TileTable queries;
  TileTable keys;
  const T* q = nullptr;
  const T* k = nullptr;
  const T* v = nullptr;
  const T* dout = nullptr;
  const float* lse2 = nullptr;
  const float* delta = nullptr;
  float* dq = nullptr;  // [B,H,T,D]
  DqTurns turns;
  float* dk = nullptr;  // [B,S,Hkv,D]
  float* dv = nullptr;  // [B,S,Hkv,D]
};

// One fold as a host sees it; `positions` are cut to the kernel's own tiles.
template <class T>
struct ForwardLaunch {
  ForwardFold<T> fold;
  Positions queries;
  Positions keys;
  int batch = 1;
  cudaStream_t stream = nullptr;
};
template <class T>
struct BackwardLaunch {
  BackwardFold<T> fold;
  Positions queries;
  Positions keys;
  int batch = 1;
  cudaStream_t stream = nullptr;
};

template <class T>
void GenericForwardFold(const ForwardLaunch<T>& launch);
template <class T>
void GenericBackwardFold(const BackwardLaunch<T>& launch);
void MmaForwardFold(const ForwardLaunch<BFloat16>& launch);
void MmaBackwardFold(const BackwardLaunch<BFloat16>& launch);
void HopperForwardFold(const ForwardLaunch<BFloat16>& launch);
void HopperBackwardFold(const BackwardLaunch<BFloat16>& launch);

}  // namespace annulus::kernels::cuda
