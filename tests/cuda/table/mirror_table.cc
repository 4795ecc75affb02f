#include "tests/cuda/table/mirror_table.h"

#include <algorithm>
#include <functional>

namespace annulus::kernels::testing {
namespace {

// A view of a call's arguments, whose memory is to be exchanged.
class Slot {
 public:
  explicit Slot(View& view) : Slot(view, [&view](std::byte* data) { view.data = data; }) {}
  explicit Slot(ConstView& view) : Slot(view, [&view](std::byte* data) { view.data = data; }) {}

  std::byte* begin() const { return begin_; }
  std::byte* end() const { return begin_ + bytes_; }
  bool empty() const { return bytes_ == 0; }
  void MoveTo(std::byte* data) const { move_(data); }

 private:
  Slot(const ConstView& view, std::function<void(std::byte*)> move)
      : begin_(static_cast<std::byte*>(const_cast<void*>(view.data))), move_(std::move(move)) {
    if (view.rank == 0 || view.size() == 0) return;
    int64_t last = 0;
    for (size_t d = 0; d < view.shape.size(); ++d) last += (view.shape[d] - 1) * view.stride[d];
    bytes_ = (last + 1) * SizeOf(view.dtype);
  }

  std::byte* begin_;
  std::function<void(std::byte*)> move_;
  int64_t bytes_ = 0;
};

// Host memory that views of a call share, and what stands for it on the device.
struct Region {
  // Addresses keep what is left by this, so that a kernel meets the same alignments.
  static constexpr int64_t kAlignment = 64;

  std::byte* begin;
  std::byte* end;
  OwnedMemory memory = nullptr;
  std::byte* on_device = nullptr;

  View view() const { return View(on_device, DType::kByte, {end - begin}); }
};

std::vector<Region> RegionsOf(std::vector<Slot> slots) {
  std::erase_if(slots, [](const Slot& slot) { return slot.empty(); });
  std::sort(slots.begin(), slots.end(),
            [](const Slot& a, const Slot& b) { return a.begin() < b.begin(); });
  std::vector<Region> regions;
  for (const Slot& slot : slots) {
    if (!regions.empty() && slot.begin() < regions.back().end) {
      regions.back().end = std::max(regions.back().end, slot.end());
    } else {
      regions.push_back({slot.begin(), slot.end()});
    }
  }
  return regions;
}

// Calls `run` with the slots' views on `device`.
template <class Run>
auto OnDevice(KernelTable& device, const std::vector<Slot>& slots, const Run& run) {
  std::vector<Region> regions = RegionsOf(slots);
  for (Region& region : regions) {
    const auto skipped =
        static_cast<int64_t>(reinterpret_cast<uintptr_t>(region.begin) % Region::kAlignment);
    region.memory = device.ReserveTensorMemory(skipped + (region.end - region.begin));
    region.on_device = region.memory.get() + skipped;
    device.CopyFromHost(region.begin, region.view());
    for (const Slot& slot : slots) {
      if (slot.empty() || slot.begin() < region.begin || slot.begin() >= region.end) continue;
      slot.MoveTo(region.on_device + (slot.begin() - region.begin));
    }
  }
  const auto download = [&] {
    for (const Region& region : regions) device.CopyToHost(region.view(), region.begin);
  };
  if constexpr (std::is_void_v<decltype(run())>) {
    run();
    device.Wait();
    download();
  } else {
    const auto result = run();
    download();
    return result;
  }
}

}  // namespace

void MirrorTable::MatMul(const MatMulArgs& given, View scratch) {
  MatMulArgs args = given;
  OnDevice(Prepared(), {Slot(args.a), Slot(args.b), Slot(args.c), Slot(scratch)},
           [&] { device_->MatMul(args, scratch); });
}
void MirrorTable::RmsNorm(const RmsNormArgs& given) {
  RmsNormArgs args = given;
  OnDevice(Prepared(), {Slot(args.x), Slot(args.weight), Slot(args.y), Slot(args.rstd)},
           [&] { device_->RmsNorm(args); });
}
void MirrorTable::RmsNormBackward(const RmsNormBackwardArgs& given, View scratch) {
  RmsNormBackwardArgs args = given;
  OnDevice(Prepared(),
           {Slot(args.dy), Slot(args.x), Slot(args.weight), Slot(args.rstd), Slot(args.dx),
            Slot(args.dweight), Slot(scratch)},
           [&] { device_->RmsNormBackward(args, scratch); });
}
void MirrorTable::RopeTable(const RopeTableArgs& given) {
  RopeTableArgs args = given;
  OnDevice(Prepared(), {Slot(args.cosine), Slot(args.sine)}, [&] { device_->RopeTable(args); });
}
void MirrorTable::Rope(const RopeArgs& given) {
  RopeArgs args = given;
  OnDevice(Prepared(), {Slot(args.x), Slot(args.cosine), Slot(args.sine)},
           [&] { device_->Rope(args); });
}
void MirrorTable::SwiGlu(const SwiGluArgs& given) {
  SwiGluArgs args = given;
  OnDevice(Prepared(), {Slot(args.gate), Slot(args.up), Slot(args.y)},
           [&] { device_->SwiGlu(args); });
}
void MirrorTable::SwiGluBackward(const SwiGluBackwardArgs& given) {
  SwiGluBackwardArgs args = given;
  OnDevice(Prepared(),
           {Slot(args.dy), Slot(args.gate), Slot(args.up), Slot(args.dgate), Slot(args.dup)},
           [&] { device_->SwiGluBackward(args); });
}
void MirrorTable::MaskedSoftmax(const MaskedSoftmaxArgs& given, View scratch) {
  MaskedSoftmaxArgs args = given;
  OnDevice(Prepared(), {Slot(args.scores), Slot(args.p), Slot(scratch)},
           [&] { device_->MaskedSoftmax(args, scratch); });
}
void MirrorTable::MaskedSoftmaxBackward(const MaskedSoftmaxBackwardArgs& given) {
  MaskedSoftmaxBackwardArgs args = given;
  OnDevice(Prepared(), {Slot(args.p), Slot(args.dp), Slot(args.ds)},
           [&] { device_->MaskedSoftmaxBackward(args); });
}
void MirrorTable::Embedding(const EmbeddingArgs& given) {
  EmbeddingArgs args = given;
  OnDevice(Prepared(), {Slot(args.table), Slot(args.tokens), Slot(args.out)},
           [&] { device_->Embedding(args); });
}
void MirrorTable::EmbeddingBackward(const EmbeddingBackwardArgs& given) {
  EmbeddingBackwardArgs args = given;
  OnDevice(Prepared(), {Slot(args.dout), Slot(args.tokens), Slot(args.dtable)},
           [&] { device_->EmbeddingBackward(args); });
}
void MirrorTable::CrossEntropy(const CrossEntropyArgs& given) {
  CrossEntropyArgs args = given;
  OnDevice(Prepared(), {Slot(args.logits), Slot(args.labels), Slot(args.loss), Slot(args.gradient)},
           [&] { device_->CrossEntropy(args); });
}
void MirrorTable::Add(const AddArgs& given) {
  AddArgs args = given;
  OnDevice(Prepared(), {Slot(args.x), Slot(args.y)}, [&] { device_->Add(args); });
}
void MirrorTable::Convert(const ConvertArgs& given) {
  ConvertArgs args = given;
  OnDevice(Prepared(), {Slot(args.from), Slot(args.to)}, [&] { device_->Convert(args); });
}
void MirrorTable::AdamW(const AdamWArgs& given) {
  AdamWArgs args = given;
  OnDevice(Prepared(),
           {Slot(args.parameter), Slot(args.gradient), Slot(args.first_moment),
            Slot(args.second_moment), Slot(args.working)},
           [&] { device_->AdamW(args); });
}
void MirrorTable::Zero(View view) {
  OnDevice(Prepared(), {Slot(view)}, [&] { device_->Zero(view); });
}
void MirrorTable::Copy(ConstView from, View to) {
  OnDevice(Prepared(), {Slot(from), Slot(to)}, [&] { device_->Copy(from, to); });
}
void MirrorTable::CopyStrided(const CopyStridedArgs& given) {
  CopyStridedArgs args = given;
  OnDevice(Prepared(), {Slot(args.from), Slot(args.to)}, [&] { device_->CopyStrided(args); });
}
void MirrorTable::CopyFromHost(const void* from, View to) {
  OnDevice(Prepared(), {Slot(to)}, [&] { device_->CopyFromHost(from, to); });
}
void MirrorTable::CopyToHost(ConstView from, void* to) {
  OnDevice(Prepared(), {Slot(from)}, [&] { device_->CopyToHost(from, to); });
}
double MirrorTable::SumOfSquares(ConstView view) {
  return OnDevice(Prepared(), {Slot(view)}, [&] { return device_->SumOfSquares(view); });
}
double MirrorTable::Sum(ConstView view) {
  return OnDevice(Prepared(), {Slot(view)}, [&] { return device_->Sum(view); });
}

}  // namespace annulus::kernels::testing
