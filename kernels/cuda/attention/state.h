// Where the state of an attention keeps what.
#pragma once

#include <cstdint>

#include "kernels/base/ops.h"

namespace annulus::kernels::cuda {

// Hands out 256-byte aligned pieces of the caller's memory; over a null base it only measures.
class StateCarver {
 public:
  explicit StateCarver(void* base) : base_(static_cast<char*>(base)) {}

  template <class T>
  T* Take(int64_t count) {
    char* piece = base_ == nullptr ? nullptr : base_ + bytes_;
    bytes_ += (count * static_cast<int64_t>(sizeof(T)) + 255) / 256 * 256;
    return reinterpret_cast<T*>(piece);
  }
  int64_t bytes() const { return bytes_; }

 private:
  char* base_;
  int64_t bytes_ = 0;
};

inline int64_t AllRows(const AttentionProblem& p) { return p.batch * p.heads * p.query_tokens(); }

inline int64_t DocumentQueries(const AttentionProblem& p) {
  return p.mask.kind == MaskKind::kDocuments ? p.query_tokens() : 0;
}

// Of a forward pass: out = sum over keys of 2^(x - max) v and sum = that of 2^(x - max), where
// x = scale * log2(e) * q.k. While max is -inf, out is not to be read: nobody has written it.
struct ForwardState {
  ForwardState(const AttentionProblem& p, void* memory) {
    StateCarver carver(memory);
    out = carver.Take<float>(AllRows(p) * p.head_dim);
    max = carver.Take<float>(AllRows(p));
    sum = carver.Take<float>(AllRows(p));
    document_first = carver.Take<int>(DocumentQueries(p));
    bytes = carver.bytes();
  }

  float* out;           // [B,H,T,D]
  float* max;           // [B,H,T]
  float* sum;           // [B,H,T]
  int* document_first;  // [T]
  int64_t bytes;
};

// Who may add to dq next (turns.h). All 0 between folds.
struct DqTurns {
  int* came = nullptr;        // [B,H,T]: how many came to a tile of queries, at its first
  unsigned* drawn = nullptr;  // how much work of a fold was taken
};

// Of a backward pass.
struct BackwardState {
  BackwardState(const AttentionProblem& p, void* memory) {
    StateCarver carver(memory);
    dq = carver.Take<float>(AllRows(p) * p.head_dim);
    lse2 = carver.Take<float>(AllRows(p));
    delta = carver.Take<float>(AllRows(p));
    turns = {carver.Take<int>(AllRows(p)), carver.Take<unsigned>(1)};
    document_first = carver.Take<int>(DocumentQueries(p));
    bytes = carver.bytes();
  }

  float* dq;     // [B,H,T,D]
  float* lse2;   // [B,H,T] of base 2; +inf for a row without keys, so that its p are 0
  float* delta;  // [B,H,T] rowsum(dout * out)
  DqTurns turns;
  int* document_first;  // [T]
  int64_t bytes;
};

}  // namespace annulus::kernels::cuda
