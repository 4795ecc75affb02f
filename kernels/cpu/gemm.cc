#include "kernels/cpu/gemm.h"

#include <omp.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <dnnl.hpp>
#include <optional>
#include <unordered_map>
#include <utility>

#include "kernels/base/denormals.h"

namespace annulus::kernels::cpu {
namespace {

using dnnl::matmul;
using dnnl::memory;

// m, n, k, then the two strides of a, b and c, then accumulate: all that a primitive depends on.
using Key = std::array<int64_t, 10>;

struct KeyHash {
  size_t operator()(const Key& key) const {
    uint64_t hash = 0;
    for (int64_t value : key) {
      hash = (hash ^ static_cast<uint64_t>(value)) * 0x9e3779b97f4a7c15u;  // Fibonacci hashing
      hash ^= hash >> 29;
    }
    return static_cast<size_t>(hash);
  }
};

bool IsRowMajor(const ConstView& view) {
  return view.stride[1] == 1 && (view.stride[0] >= view.dim(1) || view.dim(0) == 1);
}
bool IsColumnMajor(const ConstView& view) { return IsRowMajor(view.Transposed()); }

// A single row's stride means nothing, but oneDNN refuses one shorter than the row.
template <class AnyView>
AnyView WithFullRowStride(AnyView view) {
  if (view.dim(0) == 1) view.stride[0] = std::max(view.stride[0], view.dim(1) * view.stride[1]);
  return view;
}

// oneDNN writes row-major results only: a transposed c = a b is computed as c^T = b^T a^T.
MatMulArgs WithRowMajorResult(const MatMulArgs& args) {
  for (const ConstView& view : {args.a, args.b, ConstView(args.c)}) {
    Check(view.rank == 2 && view.dtype == DType::kF32, "matmul of {}, not an f32 matrix",
          view.ToString());
    Check(view.size() == 0 || IsRowMajor(view) || IsColumnMajor(view),
          "matmul of {} without a unit stride", view.ToString());
  }
  const bool as_given = args.c.size() == 0 || IsRowMajor(args.c);
  const MatMulArgs product = as_given ? args
                                      : MatMulArgs{args.b.Transposed(), args.a.Transposed(),
                                                   args.c.Transposed(), args.accumulate};
  return {WithFullRowStride(product.a), WithFullRowStride(product.b), WithFullRowStride(product.c),
          product.accumulate};
}

Key KeyOf(const MatMulArgs& args) {
  return {args.c.dim(0),    args.c.dim(1),    args.a.dim(1),    args.a.stride[0], args.a.stride[1],
          args.b.stride[0], args.b.stride[1], args.c.stride[0], args.c.stride[1], args.accumulate};
}

memory::desc Describe(const ConstView& view) {
  return {{view.dim(0), view.dim(1)}, memory::data_type::f32, {view.stride[0], view.stride[1]}};
}

matmul::primitive_desc Plan(const MatMulArgs& args, const dnnl::engine& engine) {
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  if (args.accumulate) {
    dnnl::post_ops sum;
    sum.append_sum(1.0f);
    attributes.set_post_ops(sum);
  }
  const memory::desc a = Describe(args.a), b = Describe(args.b), c = Describe(args.c);
#if DNNL_VERSION_MAJOR >= 3
  return {engine, a, b, c, attributes};
#else
  return {matmul::desc(a, b, c), attributes, engine};
#endif
}

// A weight gradient (a transposed) sums over tokens, and is folded in so many of them at a time.
// Given more, oneDNN may split the sum over threads: bits would depend on their number (2.6.3 does
// it from 2048 on for results of 64 columns). Costs or gains up to a tenth of the time.
constexpr int64_t kFoldTokens = 1024;

int64_t FoldDepth(const MatMulArgs& args) {
  return IsRowMajor(args.a) ? args.a.dim(1) : std::min(args.a.dim(1), kFoldTokens);
}

// Terms [begin, begin + count) of the sum that a product is.
MatMulArgs Fold(const MatMulArgs& args, int64_t begin, int64_t count, bool accumulate) {
  return {args.a.Slice(1, begin, count), args.b.Slice(0, begin, count), args.c, accumulate};
}

// Calls `work`, with oneDNN's failure told as one of this product.
template <class Work>
auto Guarded(const MatMulArgs& args, const Work& work) {
  try {
    return work();
  } catch (const dnnl::error& error) {
    ThrowSystemError("oneDNN: matmul of {} and {} into {}: {} (status {})", args.a.ToString(),
                     args.b.ToString(), args.c.ToString(), error.what(),
                     static_cast<int>(error.status));
  }
}

// A sum over no terms.
void MultiplyNothing(const MatMulArgs& args) {
  if (args.accumulate) return;
  for (int64_t row = 0; row < args.c.dim(0); ++row) {
    const View c = args.c.Slice(0, row, 1);
    std::memset(c.data, 0, static_cast<size_t>(c.size_bytes()));
  }
}

}  // namespace

struct Gemm::Cache {
  // A primitive and the memory objects its operands are handed over in.
  struct Product {
    Product(const MatMulArgs& args, const dnnl::engine& engine)
        : plan(Plan(args, engine)),
          a(plan.src_desc(), engine, nullptr),
          b(plan.weights_desc(), engine, nullptr),
          c(plan.dst_desc(), engine, nullptr),
          scratch(plan.scratchpad_desc(), engine, nullptr) {}

    matmul::primitive_desc plan;
    std::optional<matmul> primitive;
    memory a, b, c, scratch;
  };

  // The product's scratch in bytes.
  int64_t ScratchBytes(const MatMulArgs& args) {
    return static_cast<int64_t>(Find(args).plan.scratchpad_desc().get_size());
  }

  void Execute(const MatMulArgs& args, const View& scratch) {
    const int64_t needed = ScratchBytes(args);
    Check(scratch.size_bytes() >= needed, "matmul scratch of {} bytes, {} needed",
          scratch.size_bytes(), needed);
    Product& product = Find(args);
    if (!product.primitive) product.primitive.emplace(product.plan);
    product.a.set_data_handle(const_cast<void*>(args.a.data));
    product.b.set_data_handle(const_cast<void*>(args.b.data));
    product.c.set_data_handle(args.c.data);
    product.scratch.set_data_handle(scratch.data);
    product.primitive->execute(stream, {{DNNL_ARG_SRC, product.a},
                                        {DNNL_ARG_WEIGHTS, product.b},
                                        {DNNL_ARG_DST, product.c},
                                        {DNNL_ARG_SCRATCHPAD, product.scratch}});
    stream.wait();
  }

  Product& Find(const MatMulArgs& args) {
    const Key key = KeyOf(args);
    if (auto found = products.find(key); found != products.end()) return found->second;
    return products.try_emplace(key, args, engine).first->second;
  }

  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream{engine};
  std::unordered_map<Key, Product, KeyHash> products;
};

Gemm::Gemm(int threads) : threads_(threads), cache_(std::make_unique<Cache>()) {
  // oneDNN runs on the OpenMP threads of this thread, which live on between calls.
#pragma omp parallel num_threads(threads)
  if (omp_get_thread_num() != 0) FlushDenormals::Forever();
}
Gemm::~Gemm() = default;

int64_t Gemm::ScratchBytes(const MatMulArgs& given) {
  const MatMulArgs args = WithRowMajorResult(given);
  const int64_t depth = args.a.dim(1), step = FoldDepth(args);
  if (args.c.size() == 0 || depth == 0) return 0;
  return Guarded(args, [&] {
    omp_set_num_threads(threads_);
    int64_t bytes = cache_->ScratchBytes(Fold(args, 0, step, args.accumulate));
    if (depth > step) bytes = std::max(bytes, cache_->ScratchBytes(Fold(args, 0, step, true)));
    if (const int64_t rest = depth % step; rest > 0) {
      bytes = std::max(bytes, cache_->ScratchBytes(Fold(args, 0, rest, true)));
    }
    return bytes;
  });
}

void Gemm::MatMul(const MatMulArgs& given, View scratch) {
  const MatMulArgs args = WithRowMajorResult(given);
  const int64_t depth = args.a.dim(1), step = FoldDepth(args);
  if (args.c.size() == 0) return;
  if (depth == 0) return MultiplyNothing(args);
  const FlushDenormals mode;
  Guarded(args, [&] {
    // oneDNN plans and runs for the calling thread's OpenMP thread count.
    omp_set_num_threads(threads_);
    for (int64_t begin = 0; begin < depth; begin += step) {
      const int64_t count = std::min(step, depth - begin);
      cache_->Execute(Fold(args, begin, count, args.accumulate || begin > 0), scratch);
    }
  });
}

std::string Gemm::Describe() {
  const dnnl_version_t* version = dnnl_version();
  const View typical(nullptr, DType::kF32, {64, 64});
  const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return fmt::format("oneDNN {}.{}.{}, {}", version->major, version->minor, version->patch,
                     Plan({typical, typical, typical}, engine).impl_info_str());
}

}  // namespace annulus::kernels::cpu
