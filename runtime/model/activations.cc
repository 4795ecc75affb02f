#include "runtime/model/activations.h"

#include <array>

namespace annulus::runtime {
namespace {

using kernels::MemoryCategory;
using kernels::View;

// The strongest policy under which backward still finds the tensor kept.
enum class KeptUnder { kNoRecompute, kMlpRecompute, kAlways };

struct Field {
  View LayerActivations::*view;
  View (*shape)(const DecoderShape&, const SequenceShape&);  // without memory
  KeptUnder kept;
  const char* owner;
  kernels::Reach reach = kernels::Reach::kRank;
};

View Rows(int64_t width, const DecoderShape& d, const SequenceShape& s) {
  return View(nullptr, d.dtype, {s.rows(), width});
}
View RowScalars(const DecoderShape&, const SequenceShape& s) {
  return View(nullptr, kernels::DType::kF32, {s.rows()});
}
View Hidden(const DecoderShape& d, const SequenceShape& s) { return Rows(d.hidden_size, d, s); }
View Wide(const DecoderShape& d, const SequenceShape& s) { return Rows(d.intermediate_size, d, s); }
View Heads(const DecoderShape& d, const SequenceShape& s) {
  return View(nullptr, d.dtype, {s.batch, s.tokens(), d.num_attention_heads, d.head_dim});
}
View HeldQuery(const DecoderShape& d, const SequenceShape& s) {
  return View(nullptr, d.dtype, {s.batch, s.held_tokens(), s.held.heads, d.head_dim});
}
View HeldKeyValue(const DecoderShape& d, const SequenceShape& s) {
  return View(nullptr, d.dtype, {2, s.batch, s.held_tokens(), s.held.kv_heads * d.head_dim});
}
View HeldLogSumExp(const DecoderShape&, const SequenceShape& s) {
  return View(nullptr, kernels::DType::kF32, {s.batch, s.held.heads, s.held_tokens()});
}

using L = LayerActivations;
constexpr std::array<Field, 13> kFields = {{
    {&L::input_rstd, RowScalars, KeptUnder::kMlpRecompute, "attention norm"},
    {&L::input_normed, Hidden, KeptUnder::kMlpRecompute, "attention norm"},
    {&L::query, HeldQuery, KeptUnder::kMlpRecompute, "attention q, k, v"},
    {&L::key_value, HeldKeyValue, KeptUnder::kMlpRecompute, "attention q, k, v",
     kernels::Reach::kNode},
    {&L::attention, Heads, KeptUnder::kAlways, "attention output"},
    {&L::log_sum_exp, HeldLogSumExp, KeptUnder::kAlways, "attention log-sum-exp"},
    {&L::middle, Hidden, KeptUnder::kMlpRecompute, "residual stream"},
    {&L::middle_rstd, RowScalars, KeptUnder::kNoRecompute, "mlp norm"},
    {&L::middle_normed, Hidden, KeptUnder::kNoRecompute, "mlp norm"},
    {&L::gate, Wide, KeptUnder::kNoRecompute, "mlp"},
    {&L::up, Wide, KeptUnder::kNoRecompute, "mlp"},
    {&L::gated, Wide, KeptUnder::kNoRecompute, "mlp"},
    {&L::output, Hidden, KeptUnder::kAlways, "residual stream"},
}};

bool IsKept(KeptUnder kept, Recompute recompute) {
  switch (recompute) {
    case Recompute::kNone:
      return true;
    case Recompute::kMlp:
      return kept != KeptUnder::kNoRecompute;
    case Recompute::kBlock:
      return kept == KeptUnder::kAlways;
  }
  return true;
}

struct Selection {
  Recompute recompute;
  bool kept;
};

void Allocate(const DecoderShape& shape, const SequenceShape& sequence, Selection selection,
              kernels::StackMemory& memory, LayerActivations& layer) {
  for (const Field& field : kFields) {
    if (IsKept(field.kept, selection.recompute) != selection.kept) continue;
    View view = field.shape(shape, sequence);
    view.data =
        memory.Push(view.size_bytes(), MemoryCategory::kActivations, field.owner, field.reach);
    layer.*field.view = view;
  }
}

}  // namespace

void AllocateKept(const DecoderShape& shape, const SequenceShape& sequence, Recompute recompute,
                  kernels::StackMemory& memory, LayerActivations& layer) {
  Allocate(shape, sequence, {recompute, true}, memory, layer);
}

void AllocateTransient(const DecoderShape& shape, const SequenceShape& sequence,
                       Recompute recompute, kernels::StackMemory& memory, LayerActivations& layer) {
  Allocate(shape, sequence, {recompute, false}, memory, layer);
}

}  // namespace annulus::runtime
