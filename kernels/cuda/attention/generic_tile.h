// Products of 64 x 64 tiles by f32 FMAs, for any head size: 256 threads, 4 x 4 elements to each.
//
// Operands are in shared memory with what is summed over as rows, [k][64], so that a thread reads
// four elements of either at once: 16 FMAs for two 16-byte reads. Thread (y, x) of 16 x 16 has rows
// 4 y to 4 y + 3 and columns 4 x to 4 x + 3, and the 16 threads of a row are half a warp.
#pragma once

#include "kernels/cuda/attention/float_access.h"
#include "kernels/cuda/attention/folds.h"
#include "kernels/cuda/attention/visible.h"

namespace annulus::kernels::cuda {

inline constexpr int kGenericTile = 64;
inline constexpr int kGenericThreads = 256;
inline constexpr int kGenericRow = kGenericTile + 4;  // floats; apart from a power of two
inline constexpr int kGenericChunk = 32;              // of D, in sums over D
inline constexpr int kGenericTileFloats = kGenericTile * kGenericRow;
static_assert(2 * kGenericChunk == kGenericTile);  // two chunks have the room of one tile

struct GenericThread {
  int x = static_cast<int>(threadIdx.x) % 16;
  int y = static_cast<int>(threadIdx.x) / 16;
};

// Rows of one head of a tensor [B,tokens,heads,D]; those at and past `count` are 0.
template <class T>
struct GenericRows {
  T* data;
  int64_t stride;
  int count;
  int dim;

  __device__ __forceinline__ GenericRows(T* tensor, int tokens, int heads, int batch, int head,
                                         const Tile& tile, int head_dim)
      : stride(static_cast<int64_t>(heads) * head_dim), count(tile.count), dim(head_dim) {
    data = tensor + (static_cast<int64_t>(batch) * tokens + tile.token) * stride +
           static_cast<int64_t>(head) * head_dim;
  }
};

using Products = float[4][4];

__device__ __forceinline__ void ClearProducts(Products& acc) {
#pragma unroll
  for (int i = 0; i < 4; ++i) {
#pragma unroll
    for (int j = 0; j < 4; ++j) acc[i][j] = 0;
  }
}

// acc += sum over k < kCount of a[k][row] b[k][column].
template <int kCount>
__device__ __forceinline__ void AddProducts(Products& acc, const float* a, const float* b) {
  const GenericThread at;
#pragma unroll 4
  for (int k = 0; k < kCount; ++k) {
    const float4 left = *reinterpret_cast<const float4*>(a + k * kGenericRow + 4 * at.y);
    const float4 right = *reinterpret_cast<const float4*>(b + k * kGenericRow + 4 * at.x);
    const float l[4] = {left.x, left.y, left.z, left.w};
    const float r[4] = {right.x, right.y, right.z, right.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
#pragma unroll
      for (int j = 0; j < 4; ++j) acc[i][j] = fmaf(l[i], r[j], acc[i][j]);
    }
  }
}

// to[d][row] = rows [row][begin + d], d < kGenericChunk.
template <class T>
__device__ __forceinline__ void LoadAcross(float* to, const GenericRows<const T>& rows, int begin) {
  constexpr int kEach = kGenericChunk * kGenericTile / kGenericThreads;
  const int row = static_cast<int>(threadIdx.x) % kGenericTile;
  const int first = static_cast<int>(threadIdx.x) / kGenericTile * kEach;
  const int exist = row < rows.count ? rows.dim - begin - first : 0;
  const T* from = rows.data + row * rows.stride + begin + first;
  to += first * kGenericRow + row;
#pragma unroll
  for (int i = 0; i < kEach; ++i) to[i * kGenericRow] = i < exist ? ReadFloat(from + i) : 0;
}

// to[row][d] = rows [row][begin + d], d < kGenericTile.
template <class T>
__device__ __forceinline__ void LoadAlong(float* to, const GenericRows<const T>& rows, int begin) {
  constexpr int kApart = kGenericThreads / kGenericTile;
  const int d = static_cast<int>(threadIdx.x) % kGenericTile;
  const int first = static_cast<int>(threadIdx.x) / kGenericTile;
  const int exist = begin + d < rows.dim ? rows.count - first : 0;
  const T* from = rows.data + first * rows.stride + begin + d;
  to += first * kGenericRow + d;
#pragma unroll 4
  for (int i = 0; i < kGenericTile; i += kApart) {
    to[i * kGenericRow] = i < exist ? ReadFloat(from + i * rows.stride) : 0;
  }
}

// acc = a b^T, rows times rows. `room` is of kGenericTileFloats and free when this returns.
template <class T>
__device__ __forceinline__ void GenericRowsTimesRows(Products& acc, const GenericRows<const T>& a,
                                                     const GenericRows<const T>& b, float* room) {
  float* other = room + kGenericChunk * kGenericRow;
  ClearProducts(acc);
  for (int d = 0; d < a.dim; d += kGenericChunk) {
    LoadAcross(room, a, d);
    LoadAcross(other, b, d);
    __syncthreads();
    AddProducts<kGenericChunk>(acc, room, other);
    __syncthreads();
  }
}

// Calls visit(d, products) with p^T-weighted sums of rows, 64 of D at a time from d on: products
// [64 x 64] = sum over k of p[k][.] rows[k][d + .]. Requires that `room` is free and that `p` is
// there for all threads after the next barrier; both are free when this returns.
template <class T, class Visit>
__device__ __forceinline__ void ForEachWeightedSum(const float* p, const GenericRows<const T>& rows,
                                                   float* room, Visit visit) {
  for (int d = 0; d < rows.dim; d += kGenericTile) {
    LoadAlong(room, rows, d);
    __syncthreads();
    Products acc;
    ClearProducts(acc);
    AddProducts<kGenericTile>(acc, p, room);
    visit(d, acc);
    __syncthreads();
  }
}

// Bit 4 i + j: query row 4 y + i of a tile may attend to its key 4 x + j.
__device__ __forceinline__ unsigned GenericAllowed(const DeviceMask& mask, const Tile& queries,
                                                   const VisibleTile& keys) {
  const GenericThread at;
  unsigned bits = 0;
#pragma unroll 1
  for (int pair = 0; pair < 16; ++pair) {
    const int row = 4 * at.y + pair / 4, key = keys.tile.at(4 * at.x + pair % 4);
    const bool allowed =
        4 * at.x + pair % 4 < keys.tile.count && KeysOf(mask, queries, row).Has(key) &&
        (keys.visibility != Visibility::kBlocks || Selects(mask, queries.at(row), key));
    bits |= static_cast<unsigned>(allowed) << pair;
  }
  return bits;
}

}  // namespace annulus::kernels::cuda
