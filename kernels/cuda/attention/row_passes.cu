// Passes over rows: a warp per row of D elements, lanes across D; nothing in shared memory.
//
// Bytes per row: begin of the forward 8; its finish 4 D read, D elements written; begin of the
// backward 2 D elements read, 4 D + 12 written; its finish 4 D read, D elements written. FLOPs: D
// to 2 D. All are bound by memory.
#include <algorithm>

#include "kernels/cuda/attention/float_access.h"
#include "kernels/cuda/attention/folds.h"
#include "kernels/cuda/attention/geometry.h"
#include "kernels/cuda/attention/row_end.h"
#include "kernels/cuda/attention/row_passes.h"
#include "kernels/cuda/attention/state.h"
#include "kernels/cuda/launch.h"

namespace annulus::kernels::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;

LaunchShape RowsByWarp(int64_t rows) {
  return {.grid = dim3(static_cast<unsigned>((rows + kWarps - 1) / kWarps)), .block = kThreads};
}
LaunchShape RowsByThread(int64_t rows) {
  return {.grid = dim3(static_cast<unsigned>((rows + kThreads - 1) / kThreads)), .block = kThreads};
}

// A row of [B,H,T] and where its elements begin in a tensor [B,T,H,D].
struct Row {
  int64_t index;
  int64_t element;
  bool exists;

  __device__ __forceinline__ Row(const FoldShape& s, int64_t rows)
      : index(static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32), exists(index < rows) {
    const int64_t head = index / s.query_tokens, token = index % s.query_tokens;
    element = ((head / s.heads * s.query_tokens + token) * s.heads + head % s.heads) * s.head_dim;
  }
};

constexpr int kStartsPerLaunch = 400;  // 3.2 of the 4 KiB that arguments may have

struct DocumentStarts {
  bool first = false;  // none came before
  int count = 0;
  int64_t start[kStartsPerLaunch];
};

// Queries at or past the first of these starts; others keep what they have.
__global__ void DocumentFirstKernel(const __grid_constant__ DocumentStarts starts,
                                    const __grid_constant__ TileTable queries, int tokens,
                                    int* document_first) {
  const int token = static_cast<int>(blockIdx.x * kThreads + threadIdx.x);
  if (token >= tokens) return;
  int r = 0;
  while (r + 1 < queries.runs && token >= queries.run[r + 1].token) ++r;
  const int position =
      queries.run[r].start + (token - queries.run[r].token) * queries.run[r].stride;
  int low = 0, high = starts.count;  // the number of starts at or before the position
  while (low < high) {
    const int middle = (low + high) / 2;
    if (starts.start[middle] <= position) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  if (low > 0) {
    document_first[token] = static_cast<int>(starts.start[low - 1]);
  } else if (starts.first) {
    document_first[token] = 0;
  }
}

__global__ void BeginForwardKernel(int64_t rows, float* max, float* sum) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (row >= rows) return;
  max[row] = -INFINITY;
  sum[row] = 0;
}

template <class T>
struct ForwardRows {
  FoldShape shape;
  int64_t rows;
  const float* accumulated;
  const float* max;
  const float* sum;
  ForwardOutputs<T> outputs;
};

template <class T>
__global__ void FinishForwardKernel(const __grid_constant__ ForwardRows<T> p) {
  const Row row(p.shape, p.rows);
  if (!row.exists) return;
  const int dim = p.shape.head_dim, lane = static_cast<int>(threadIdx.x) % 32;
  const RowEnd end(p.max[row.index], p.sum[row.index]);
  const float* from = p.accumulated + row.index * dim;
  for (int d = lane; d < dim; d += 32) {
    WriteFloat(end.any ? from[d] * end.factor : 0, p.outputs.out + row.element + d);
  }
  if (lane == 0) p.outputs.lse[row.index] = end.lse;
}

template <class T>
struct BackwardRows {
  FoldShape shape;
  int64_t rows;
  const T* out;
  const T* dout;
  const float* lse;
  float* dq_sum;
  float* lse2;
  float* delta;
  DqTurns turns;
  T* dq;
};

template <class T>
__global__ void BeginBackwardKernel(const __grid_constant__ BackwardRows<T> p) {
  const Row row(p.shape, p.rows);
  if (!row.exists) return;
  const int dim = p.shape.head_dim, lane = static_cast<int>(threadIdx.x) % 32;
  float delta = 0;
  for (int d = lane; d < dim; d += 32) {
    delta += ReadFloat(p.out + row.element + d) * ReadFloat(p.dout + row.element + d);
    p.dq_sum[row.index * dim + d] = 0;
  }
  delta = WarpSum(delta);
  if (lane != 0) return;
  const float lse = p.lse[row.index];
  p.delta[row.index] = delta;
  p.turns.came[row.index] = 0;
  if (row.index == 0) *p.turns.drawn = 0;
  p.lse2[row.index] = lse == -INFINITY ? INFINITY : lse * kLog2E;
}

template <class T>
__global__ void FinishBackwardKernel(const __grid_constant__ BackwardRows<T> p) {
  const Row row(p.shape, p.rows);
  if (!row.exists) return;
  const int dim = p.shape.head_dim;
  const float* from = p.dq_sum + row.index * dim;
  for (int d = static_cast<int>(threadIdx.x) % 32; d < dim; d += 32) {
    WriteFloat(from[d], p.dq + row.element + d);
  }
}

// Calls visit(T{}) with the element type of the problem.
template <class Visit>
void WithElement(DType dtype, Visit visit) {
  if (dtype == DType::kF32) {
    visit(float{});
  } else {
    visit(BFloat16{});
  }
}

template <class T>
BackwardRows<T> RowsOf(const AttentionBackwardArgs& args) {
  const AttentionProblem& p = args.problem;
  const BackwardState state(p, args.state.data);
  return {.shape = FoldShape(p),
          .rows = AllRows(p),
          .out = args.out.As<T>(),
          .dout = args.dout.As<T>(),
          .lse = args.lse.As<float>(),
          .dq_sum = state.dq,
          .lse2 = state.lse2,
          .delta = state.delta,
          .turns = state.turns,
          .dq = nullptr};
}

}  // namespace

void FillDocumentFirst(const AttentionProblem& p, int* document_first, cudaStream_t stream) {
  const auto starts = p.mask.document_starts;
  const TileTable queries = CutIntoTiles(p.queries, kThreads);
  const int tokens = static_cast<int>(p.query_tokens());
  for (size_t begin = 0; begin == 0 || begin < starts.size(); begin += kStartsPerLaunch) {
    DocumentStarts piece;
    piece.first = begin == 0;
    piece.count = static_cast<int>(std::min<size_t>(kStartsPerLaunch, starts.size() - begin));
    std::copy_n(starts.begin() + static_cast<std::ptrdiff_t>(begin), piece.count, piece.start);
    Launch(DocumentFirstKernel, RowsByThread(tokens), stream, "attention documents", piece, queries,
           tokens, document_first);
  }
}

void BeginForwardRows(const AttentionForwardArgs& args, cudaStream_t stream) {
  const ForwardState state(args.problem, args.state.data);
  const int64_t rows = AllRows(args.problem);
  Launch(BeginForwardKernel, RowsByThread(rows), stream, "attention forward begin", rows, state.max,
         state.sum);
}

void FinishForwardRows(const AttentionForwardArgs& args, const AttentionOutputs& outputs,
                       cudaStream_t stream) {
  const AttentionProblem& p = args.problem;
  const ForwardState state(p, args.state.data);
  WithElement(p.dtype, [&]<class T>(T) {
    const ForwardRows<T> rows{.shape = FoldShape(p),
                              .rows = AllRows(p),
                              .accumulated = state.out,
                              .max = state.max,
                              .sum = state.sum,
                              .outputs = OutputsOf<T>(outputs)};
    Launch(FinishForwardKernel<T>, RowsByWarp(rows.rows), stream, "attention forward finish", rows);
  });
}

void BeginBackwardRows(const AttentionBackwardArgs& args, cudaStream_t stream) {
  WithElement(args.problem.dtype, [&]<class T>(T) {
    const BackwardRows<T> rows = RowsOf<T>(args);
    Launch(BeginBackwardKernel<T>, RowsByWarp(rows.rows), stream, "attention backward begin", rows);
  });
}

void FinishBackwardRows(const AttentionBackwardArgs& args, View dq, cudaStream_t stream) {
  WithElement(args.problem.dtype, [&]<class T>(T) {
    BackwardRows<T> rows = RowsOf<T>(args);
    rows.dq = dq.As<T>();
    Launch(FinishBackwardKernel<T>, RowsByWarp(rows.rows), stream, "attention backward finish",
           rows);
  });
}

}  // namespace annulus::kernels::cuda
