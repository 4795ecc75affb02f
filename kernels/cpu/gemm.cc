#include "kernels/cpu/gemm.h"

#include <omp.h>

#include <array>
#include <cstring>
#include <dnnl.hpp>
#include <optional>
#include <unordered_map>
#include <utility>

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

// oneDNN writes row-major results only: a transposed c = a b is computed as c^T = b^T a^T.
MatMulArgs WithRowMajorResult(const MatMulArgs& args) {
  for (const ConstView& view : {args.a, args.b, ConstView(args.c)}) {
    Check(view.rank == 2 && view.dtype == DType::kF32, "matmul of {}, not an f32 matrix",
          view.ToString());
    Check(view.size() == 0 || IsRowMajor(view) || IsColumnMajor(view),
          "matmul of {} without a unit stride", view.ToString());
  }
  if (args.c.size() == 0 || IsRowMajor(args.c)) return args;
  return {args.b.Transposed(), args.a.Transposed(), args.c.Transposed(), args.accumulate};
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

// A sum over no terms.
void MultiplyNothing(const MatMulArgs& args) {
  if (args.accumulate) return;
  for (int64_t row = 0; row < args.c.dim(0); ++row) {
    const View c = args.c.Slice(0, row, 1);
    std::memset(c.data, 0, static_cast<size_t>(c.size_bytes()));
  }
}

}  // namespace

// A primitive and the memory objects its operands are handed over in.
struct Product {
  Product(const MatMulArgs& args, const dnnl::engine& engine)
      : plan(Plan(args, engine)),
        a(plan.src_desc(), engine, nullptr),
        b(plan.weights_desc(), engine, nullptr),
        c(plan.dst_desc(), engine, nullptr),
        scratch(plan.scratchpad_desc(), engine, nullptr) {}

  int64_t scratch_bytes() const { return static_cast<int64_t>(plan.scratchpad_desc().get_size()); }

  void Execute(const MatMulArgs& args, const View& scratch_view, const dnnl::stream& stream) {
    a.set_data_handle(const_cast<void*>(args.a.data));
    b.set_data_handle(const_cast<void*>(args.b.data));
    c.set_data_handle(args.c.data);
    scratch.set_data_handle(scratch_view.data);
    if (!primitive) primitive.emplace(plan);
    primitive->execute(stream, {{DNNL_ARG_SRC, a},
                                {DNNL_ARG_WEIGHTS, b},
                                {DNNL_ARG_DST, c},
                                {DNNL_ARG_SCRATCHPAD, scratch}});
  }

  matmul::primitive_desc plan;
  std::optional<matmul> primitive;
  memory a, b, c, scratch;
};

struct Gemm::Cache {
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream{engine};
  std::unordered_map<Key, Product, KeyHash> products;

  Product& Find(const MatMulArgs& args) {
    const Key key = KeyOf(args);
    if (auto found = products.find(key); found != products.end()) return found->second;
    return products.try_emplace(key, args, engine).first->second;
  }
};

Gemm::Gemm(int threads) : threads_(threads), cache_(std::make_unique<Cache>()) {}
Gemm::~Gemm() = default;

int64_t Gemm::ScratchBytes(const MatMulArgs& given) {
  const MatMulArgs args = WithRowMajorResult(given);
  if (args.c.size() == 0 || args.a.dim(1) == 0) return 0;
  omp_set_num_threads(threads_);
  return cache_->Find(args).scratch_bytes();
}

void Gemm::MatMul(const MatMulArgs& given, View scratch) {
  const MatMulArgs args = WithRowMajorResult(given);
  if (args.c.size() == 0) return;
  if (args.a.dim(1) == 0) return MultiplyNothing(args);
  // oneDNN plans and runs for the calling thread's OpenMP thread count.
  omp_set_num_threads(threads_);
  Product& product = cache_->Find(args);
  Check(scratch.size_bytes() >= product.scratch_bytes(), "matmul scratch of {} bytes, {} needed",
        scratch.size_bytes(), product.scratch_bytes());
  product.Execute(args, scratch, cache_->stream);
  cache_->stream.wait();
}

std::string Gemm::Describe() {
  const dnnl_version_t* version = dnnl_version();
  const View typical(nullptr, DType::kF32, {64, 64});
  const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return fmt::format("oneDNN {}.{}.{}, {}", version->major, version->minor, version->patch,
                     Plan({typical, typical, typical}, engine).impl_info_str());
}

}  // namespace annulus::kernels::cpu
