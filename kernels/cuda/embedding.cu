// Rows of the embedding table. Forward: 2b bytes an element of b bytes. Backward: a block for every
// token of the batch finds out whether it is the first of its kind, and then adds the rows of all
// like it in their order, so that the sum is the same in every run, without atomics and without
// scratch. Tokens are read from cache, N of them for each of up to V kinds. No shared memory.
#include "kernels/cuda/data_fault.h"
#include "kernels/cuda/elementwise.h"
#include "kernels/cuda/units.h"

namespace annulus::kernels::cuda {
namespace {

// Bits of a float's and of a BFloat16's NaN alike.
constexpr unsigned char kNanByte = 0xff;

template <class U>
__global__ void EmbeddingKernel(const U* const table, const int32_t* const tokens, U* const out,
                                const int64_t rows, const int64_t count, const int64_t vocabulary,
                                DataFault* const fault) {
  const int64_t row = OwnRow();
  if (row >= rows) return;
  const int64_t token = tokens[row];
  const bool known = token >= 0 && token < vocabulary;
  if (!known && threadIdx.x == 0) *fault = {DataFault::kToken, static_cast<int32_t>(token)};
  U nan;
  for (unsigned char& byte : nan.byte) byte = kNanByte;
  for (int64_t i = threadIdx.x; i < count; i += blockDim.x) {
    out[row * count + i] = known ? table[token * count + i] : nan;
  }
}

template <class T>
struct EmbeddingSums {
  const T* dout;          // [N,C]
  const int32_t* tokens;  // [N]
  float* dtable;          // [V,C]
  int64_t rows;
  int64_t hidden;
  int64_t vocabulary;
  DataFault* fault;
};

constexpr unsigned kAllLanes = 0xffffffffu;

// The lanes whose token of tokens[begin, end) is `token`; a warp at a time.
__device__ inline uint32_t LanesOf(const int32_t* tokens, int64_t begin, int64_t end,
                                   int32_t token) {
  const int64_t i = begin + threadIdx.x % 32;
  return __ballot_sync(kAllLanes, i < end && tokens[i] == token);
}

__device__ inline bool SeenBefore(const int32_t* tokens, int64_t row) {
  for (int64_t end = row; end > 0; end -= 32) {
    if (LanesOf(tokens, end > 32 ? end - 32 : 0, end, tokens[row]) != 0) return true;
  }
  return false;
}

// Threads take columns. Every warp goes over the tokens for itself.
template <class T>
__global__ void EmbeddingBackwardKernel(const EmbeddingSums<T> sums) {
  const int64_t first = blockIdx.x;
  const int32_t token = sums.tokens[first];
  if (token < 0 || token >= sums.vocabulary) {
    if (threadIdx.x == 0) *sums.fault = {DataFault::kToken, token};
    return;
  }
  if (SeenBefore(sums.tokens, first)) return;
  const int64_t column = int64_t{blockIdx.y} * blockDim.x + threadIdx.x;
  const bool mine = column < sums.hidden;
  float* const to = sums.dtable + token * sums.hidden + column;
  float sum = mine ? *to : 0.0f;
  for (int64_t begin = first; begin < sums.rows; begin += 32) {
    uint32_t like = LanesOf(sums.tokens, begin, sums.rows, token);
    for (; like != 0; like &= like - 1) {
      const int64_t row = begin + __ffs(static_cast<int>(like)) - 1;
      if (mine) sum += Widen(sums.dout[row * sums.hidden + column]);
    }
  }
  if (mine) *to = sum;
}

}  // namespace

void Embedding(const EmbeddingArgs& args, DataFault* fault, cudaStream_t stream) {
  const int64_t rows = args.out.dim(0), row_bytes = args.out.dim(1) * SizeOf(args.out.dtype);
  const int64_t alignment =
      std::min({AlignmentOf(row_bytes), AlignmentOf(args.table.data), AlignmentOf(args.out.data)});
  WithUnit(alignment, [&](auto unit) {
    using U = decltype(unit);
    const int64_t count = row_bytes / static_cast<int64_t>(sizeof(U));
    Launch(EmbeddingKernel<U>, ShapeOfRows(rows, count), stream, "embedding",
           static_cast<const U*>(args.table.data), args.tokens.As<int32_t>(),
           static_cast<U*>(args.out.data), rows, count, args.table.dim(0), fault);
  });
}

void EmbeddingBackward(const EmbeddingBackwardArgs& args, DataFault* fault, cudaStream_t stream) {
  constexpr int64_t kMostThreads = 256;
  const int64_t rows = args.dout.dim(0), hidden = args.dout.dim(1);
  const dim3 block = ThreadsFor(hidden, kMostThreads);
  dim3 grid = Blocks(rows);
  grid.y = static_cast<unsigned>(CeilDiv(hidden, block.x));
  WithElement(args.dout.dtype, [&](auto element) {
    using T = decltype(element);
    const EmbeddingSums<T> sums{args.dout.As<T>(),
                                args.tokens.As<int32_t>(),
                                args.dtable.As<float>(),
                                rows,
                                hidden,
                                args.dtable.dim(0),
                                fault};
    Launch(EmbeddingBackwardKernel<T>, {.grid = grid, .block = block}, stream, "embedding backward",
           sums);
  });
}

}  // namespace annulus::kernels::cuda
