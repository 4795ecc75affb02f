// The arguments of every kernel: shapes, dtypes, what is read, overwritten or accumulated.
// "T" is one of f32 and bf16, the same for all tensors of a call that bear it. Tensors are
// contiguous and f32 unless said otherwise; outputs never alias inputs unless allowed. Arithmetic
// is in f32, whatever T; results are rounded once, to nearest even, when stored.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "kernels/base/mask.h"
#include "kernels/base/positions.h"
#include "kernels/base/view.h"

namespace annulus::kernels {

// c [M,N] = a [M,K] * b [K,N], or c += when `accumulate`. Any of them may be a transposed view
// (unit stride in one of the two dims). a, b are T, c is T or f32: sums are f32 and rounded at the
// end. 2*M*N*K FLOPs. An extent of 0 is allowed.
struct MatMulArgs {
  ConstView a;
  ConstView b;
  View c;
  bool accumulate = false;
};

// y = x * rstd * weight, rstd = 1/sqrt(mean(x^2) + eps) over the last dim (Zhang & Sennrich 2019).
// x, y [N,C] T; weight [C] T; rstd [N]. Overwrites y and rstd.
struct RmsNormArgs {
  ConstView x;
  ConstView weight;
  float eps = 1e-5f;
  View y;
  View rstd;
};

// dx += the gradient through RmsNorm; dweight += sum over rows of dy * x * rstd.
// dy, x, dx [N,C] T; weight [C] T; dweight [C]; rstd [N] from the forward pass. dx may not alias
// dy.
struct RmsNormBackwardArgs {
  ConstView dy;
  ConstView x;
  ConstView weight;
  ConstView rstd;
  View dx;
  View dweight;
};

// cosine, sine [T,D/2] of position * theta^(-2i/D) (Su et al. 2021), the angle in float64 so that a
// position of millions keeps its phase. Overwrites.
struct RopeTableArgs {
  Positions positions;
  double theta = 10000.0;
  View cosine;
  View sine;
};

// Rotates x [B,T,H,D] of T in place by the table, pairing element i with i + D/2 (the half-split
// form of Hugging Face Llama); `inverse` rotates back, which is the backward pass.
struct RopeArgs {
  View x;
  ConstView cosine;
  ConstView sine;
  bool inverse = false;
};

// y = silu(gate) * up (Shazeer 2020). All [N,F] T. Overwrites y, which may alias gate or up.
struct SwiGluArgs {
  ConstView gate;
  ConstView up;
  View y;
};

// dgate, dup from dy. All [N,F] T. Overwrites; dgate may alias gate and dup may alias up.
struct SwiGluBackwardArgs {
  ConstView dy;
  ConstView gate;
  ConstView up;
  View dgate;
  View dup;
};

// out [N,C] T = table [V,C] T rows of tokens [N] i32. Overwrites. Requires 0 <= token < V.
struct EmbeddingArgs {
  ConstView table;
  ConstView tokens;
  View out;
};

// dtable [V,C] += rows of dout [N,C] T at tokens [N] i32. The sum's order is that of the rows.
struct EmbeddingBackwardArgs {
  ConstView dout;
  ConstView tokens;
  View dtable;
};

// Per row of logits [M,V] with label [M] i32: loss [M] = logsumexp(logits) - logits[label], and 0
// where label < 0 (no target). Overwrites loss. With a `gradient` [M,V] T, rows at any stride, it
// overwrites that with gradient_scale * (softmax(logits) - onehot(label)), a row of zeros where
// label < 0, and the logits are lost: rows of `gradient` may begin where those of the logits do.
// Without one (a view of no dims) it leaves the logits as they are. Requires label < V.
struct CrossEntropyArgs {
  View logits;
  ConstView labels;
  View loss;
  View gradient = {};
  float gradient_scale = 1.0f;
};

// y += x, equal sizes, both T.
struct AddArgs {
  ConstView x;
  View y;
};

// to = from, equal sizes; one is f32, the other bf16.
struct ConvertArgs {
  ConstView from;
  View to;
};

// to = from, or to += from when `accumulate` (f32 only). Equal shapes and dtypes, at any strides
// but a unit one in the last dim; rows side by side are copied as one. No aliasing.
struct CopyStridedArgs {
  ConstView from;
  View to;
  bool accumulate = false;
};

// AdamW (Loshchilov & Hutter 2019) on flat tensors of equal size, in place:
//   g = gradient * gradient_scale; m = b1 m + (1-b1) g; v = b2 v + (1-b2) g^2;
//   p -= lr * (m / (1-b1^step) / (sqrt(v / (1-b2^step)) + eps) + weight_decay * p)
// `working`, where given (not a view of no dims), is bf16 and overwritten with p: the copy that a
// bf16 model computes with, while the f32 master keeps what is too small to show there
// (Micikevicius et al. 2018).
struct AdamWArgs {
  View parameter;
  ConstView gradient;
  View first_moment;
  View second_moment;
  View working = {};
  int64_t step = 1;  // counted from 1
  float learning_rate = 0;
  float beta1 = 0.9f;
  float beta2 = 0.95f;
  float eps = 1e-8f;
  float weight_decay = 0;
  float gradient_scale = 1;
};

// Keys [begin, end).
struct KeySegment {
  int64_t begin = 0;
  int64_t end = 0;
};

// The keys that each of T queries attends to: those of query t are
// segments[first[t]] ... segments[first[t + 1] - 1], apart and ascending.
struct AllowedKeys {
  std::span<const KeySegment> segments;
  std::span<const int64_t> first;  // [T+1]
};

// p = softmax(scale * scores) over the allowed keys and 0 elsewhere; a row without any is 0: the
// middle of an attention whose scores are written out. scores [T,S] f32, left as scratch; p [T,S]
// f32 or bf16, overwritten; an f32 p may be scores. Requires scale > 0.
struct MaskedSoftmaxArgs {
  View scores;
  AllowedKeys keys;
  float scale = 1;
  View p;
};

// ds = scale * p * (dp - rowsum(p * dp)), the gradient of the scores from that of p. p, ds [T,S]
// f32 or bf16, of one dtype; dp [T,S] f32. Overwrites ds; an f32 ds may be dp.
struct MaskedSoftmaxBackwardArgs {
  ConstView p;
  ConstView dp;
  float scale = 1;
  View ds;
};

// One attention of a rank's local queries with every key of the sequence, folded in block by block.
// FLOPs: forward 4*B*H*D per allowed (query, key) pair, backward 10*B*H*D.
struct AttentionProblem {
  int64_t batch = 1;
  int64_t heads = 1;
  int64_t kv_heads = 1;  // divides heads; query head h reads key/value head h / (heads/kv_heads)
  int64_t head_dim = 64;
  float scale = 1;            // of the logits q.k, 1/sqrt(D) as a rule
  DType dtype = DType::kF32;  // kF32 or kBF16: of q, k, v, out, dout and dq; all else is f32
  Positions queries;  // global positions of the T local query tokens, the same for every sequence
  Mask mask;

  int64_t query_tokens() const { return queries.tokens(); }
};

// k, v [B,S,Hkv,D], each sequence contiguous, and where their S tokens sit in the sequence.
struct KeyBlock {
  ConstView k;
  ConstView v;
  Positions positions;
};

// dk, dv [B,S,Hkv,D] f32, each sequence contiguous.
struct KeyBlockGradient {
  View dk;
  View dv;
};

// What a fold calls now and then while it computes, every fraction of a millisecond, on the thread
// that called it: for exchanges that move only while their host looks after them. Brief; must not
// throw. Empty: nothing. Not called by a table whose work runs beside the host's.
using Meanwhile = std::function<void()>;

// q [B,T,H,D]; `state` is memory of AttentionForwardStateBytes(problem), its layout the table's
// own.
struct AttentionForwardArgs {
  AttentionProblem problem;
  ConstView q;
  View state;
  Meanwhile meanwhile = {};
};

// What a forward pass ends in: out [B,T,H,D] of the problem's dtype, lse [B,H,T] f32.
struct AttentionOutputs {
  View out;
  View lse;
};

// q, out, dout [B,T,H,D]; lse [B,H,T] f32; `state` is memory of
// AttentionBackwardStateBytes(problem).
struct AttentionBackwardArgs {
  AttentionProblem problem;
  ConstView q;
  ConstView out;
  ConstView dout;
  ConstView lse;
  View state;
  Meanwhile meanwhile = {};
};

}  // namespace annulus::kernels
