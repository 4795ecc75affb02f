#include "kernels/cuda/table/cuda_kernel_table.h"

#include "kernels/cuda/elementwise.h"
#include "kernels/cuda/table/table_device.h"

namespace annulus::kernels::cuda {
namespace {

AttentionProblem TypicalAttention(DType dtype) {
  AttentionProblem problem;
  problem.head_dim = 128;
  problem.dtype = dtype;
  return problem;
}

// The allowed keys in scratch: where each row's begin, then the segments.
int64_t FirstBytes(const AllowedKeys& keys) {
  return static_cast<int64_t>(keys.first.size_bytes());
}
int64_t SegmentBytes(const AllowedKeys& keys) {
  return static_cast<int64_t>(keys.segments.size_bytes());
}

}  // namespace

CudaKernelTable::CudaKernelTable() = default;
CudaKernelTable::CudaKernelTable(const CudaTableOptions& options)
    : device_(std::make_unique<Device>(options)) {}
CudaKernelTable::~CudaKernelTable() = default;

CudaKernelTable::Device& CudaKernelTable::device() const {
  Check(device_ != nullptr, "work for a table of CUDA that has no device");
  return *device_;
}

std::string CudaKernelTable::Name() const {
  if (device_ == nullptr) return "cuda, no device";
  return fmt::format("cuda {}, {}", device_->index, device_->properties.name);
}

std::vector<KernelChoice> CudaKernelTable::Choices() const {
  const int capability = device_ == nullptr ? 80 : device_->properties.capability();
  const auto attention = [&](DType dtype) {
    return "fused, " + std::string(NameOf(ChooseAttention(TypicalAttention(dtype), capability)));
  };
  const bool tf32 = device_ != nullptr && device_->tf32;
  return {
      {"f32 attention", attention(DType::kF32), "no tensor core multiplies f32"},
      {"bf16 attention", attention(DType::kBF16), "fastest on a head of 128 that this device has"},
      {"f32 products", LtProducts::Version() + (tf32 ? ", TF32" : ", f32"),
       tf32 ? "asked for" : "TF32 rounds factors to 10 bits: only where it is asked for"},
      {"bf16 products", LtProducts::Version() + ", f32 sums", "tensor cores"},
      {"elementwise", "CUDA", "accesses of 16 bytes where tensors allow it"}};
}

int64_t CudaKernelTable::MatMulScratchBytes(const MatMulArgs& args) const {
  return LtProducts::ScratchBytes(args);
}
int64_t CudaKernelTable::RmsNormBackwardScratchBytes(const RmsNormBackwardArgs& args) const {
  return cuda::RmsNormBackwardScratchBytes(args);
}
int64_t CudaKernelTable::MaskedSoftmaxScratchBytes(const MaskedSoftmaxArgs& args) const {
  return FirstBytes(args.keys) + SegmentBytes(args.keys);
}
int64_t CudaKernelTable::AttentionForwardStateBytes(const AttentionProblem& problem) const {
  return cuda::AttentionForwardStateBytes(problem);
}
int64_t CudaKernelTable::AttentionForwardScratchBytes(const AttentionProblem&, int64_t) const {
  return 0;
}
int64_t CudaKernelTable::AttentionBackwardStateBytes(const AttentionProblem& problem) const {
  return cuda::AttentionBackwardStateBytes(problem);
}
int64_t CudaKernelTable::AttentionBackwardScratchBytes(const AttentionProblem&, int64_t) const {
  return 0;
}

void CudaKernelTable::MatMul(const MatMulArgs& args, View scratch) {
  device().products.MatMul(args, scratch, device().stream.get());
}
void CudaKernelTable::RmsNorm(const RmsNormArgs& args) {
  cuda::RmsNorm(args, device().stream.get());
}
void CudaKernelTable::RmsNormBackward(const RmsNormBackwardArgs& args, View scratch) {
  cuda::RmsNormBackward(args, scratch, device().stream.get());
}
void CudaKernelTable::RopeTable(const RopeTableArgs& args) {
  cuda::RopeTable(args, device().stream.get());
}
void CudaKernelTable::Rope(const RopeArgs& args) { cuda::Rope(args, device().stream.get()); }
void CudaKernelTable::SwiGlu(const SwiGluArgs& args) { cuda::SwiGlu(args, device().stream.get()); }
void CudaKernelTable::SwiGluBackward(const SwiGluBackwardArgs& args) {
  cuda::SwiGluBackward(args, device().stream.get());
}
void CudaKernelTable::MaskedSoftmax(const MaskedSoftmaxArgs& args, View scratch) {
  const int64_t first_bytes = FirstBytes(args.keys);
  auto* const first = static_cast<std::byte*>(scratch.data);
  auto* const segments = first + first_bytes;
  cudaStream_t stream = device().stream.get();
  device().copies.ToDevice(args.keys.first.data(), first, first_bytes, stream);
  device().copies.ToDevice(args.keys.segments.data(), segments, SegmentBytes(args.keys), stream);
  cuda::MaskedSoftmax(
      args, {reinterpret_cast<KeySegment*>(segments), reinterpret_cast<int64_t*>(first)}, stream);
}
void CudaKernelTable::MaskedSoftmaxBackward(const MaskedSoftmaxBackwardArgs& args) {
  cuda::MaskedSoftmaxBackward(args, device().stream.get());
}
void CudaKernelTable::Embedding(const EmbeddingArgs& args) {
  cuda::Embedding(args, device().fault(), device().stream.get());
}
void CudaKernelTable::EmbeddingBackward(const EmbeddingBackwardArgs& args) {
  cuda::EmbeddingBackward(args, device().fault(), device().stream.get());
}
void CudaKernelTable::CrossEntropy(const CrossEntropyArgs& args) {
  cuda::CrossEntropy(args, device().fault(), device().stream.get());
}
void CudaKernelTable::Add(const AddArgs& args) { cuda::Add(args, device().stream.get()); }
void CudaKernelTable::Convert(const ConvertArgs& args) {
  cuda::Convert(args, device().stream.get());
}
void CudaKernelTable::AdamW(const AdamWArgs& args) { cuda::AdamW(args, device().stream.get()); }

void CudaKernelTable::AttentionForwardBegin(const AttentionForwardArgs& args) {
  cuda::AttentionForwardBegin(args, device().attention());
}
void CudaKernelTable::AttentionForwardFold(const AttentionForwardArgs& args, const KeyBlock& block,
                                           View) {
  cuda::AttentionForwardFold(args, block, device().attention());
}
void CudaKernelTable::AttentionForwardLast(const AttentionForwardArgs& args, const KeyBlock& block,
                                           const AttentionOutputs& outputs, View) {
  cuda::AttentionForwardLast(args, block, outputs, device().attention());
}
void CudaKernelTable::AttentionForwardFinish(const AttentionForwardArgs& args,
                                             const AttentionOutputs& outputs) {
  cuda::AttentionForwardFinish(args, outputs, device().attention());
}
void CudaKernelTable::AttentionBackwardBegin(const AttentionBackwardArgs& args) {
  cuda::AttentionBackwardBegin(args, device().attention());
}
void CudaKernelTable::AttentionBackwardFold(const AttentionBackwardArgs& args,
                                            const KeyBlock& block, const KeyBlockGradient& gradient,
                                            View) {
  cuda::AttentionBackwardFold(args, block, gradient, device().attention());
}
void CudaKernelTable::AttentionBackwardFinish(const AttentionBackwardArgs& args, View dq) {
  cuda::AttentionBackwardFinish(args, dq, device().attention());
}

void CudaKernelTable::Zero(View view) {
  if (view.size() == 0) return;
  CheckCuda(
      cudaMemsetAsync(view.data, 0, static_cast<size_t>(view.size_bytes()), device().stream.get()),
      "cudaMemsetAsync");
}
void CudaKernelTable::Copy(ConstView from, View to) {
  if (to.size() == 0) return;
  CheckCuda(cudaMemcpyAsync(to.data, from.data, static_cast<size_t>(to.size_bytes()),
                            cudaMemcpyDeviceToDevice, device().stream.get()),
            "cudaMemcpyAsync on the device");
}
void CudaKernelTable::CopyStrided(const CopyStridedArgs& args) {
  cuda::CopyStrided(args, device().stream.get());
}
void CudaKernelTable::CopyFromHost(const void* from, View to) {
  device().copies.ToDevice(from, to.data, to.size_bytes(), device().stream.get());
}
void CudaKernelTable::CopyToHost(ConstView from, void* to) {
  device().copies.ToHost(from.data, to, from.size_bytes(), device().stream.get());
  device().Wait();
}
OwnedMemory CudaKernelTable::ReserveTensorMemory(int64_t bytes) {
  return {ReserveDeviceMemory(bytes, "tensors").release(), FreeDeviceMemory()};
}
DeviceMemoryUse CudaKernelTable::ReadMemoryUse() const {
  if (device_ == nullptr) return {};
  const DeviceMemoryReading reading = ReadDeviceMemory();
  return {.used_bytes = reading.used_bytes(), .total_bytes = reading.total_bytes};
}
OwnedMemory CudaKernelTable::AllocateHost(int64_t bytes) { return device().copies.Allocate(bytes); }
void CudaKernelTable::Wait() { device().Wait(); }
bool CudaKernelTable::Idle() { return device().stream.Done(); }
double CudaKernelTable::SumOfSquares(ConstView view) {
  return device().Reduce(view, Summand::kSquare);
}
double CudaKernelTable::Sum(ConstView view) { return device().Reduce(view, Summand::kValue); }
CUstream_st* CudaKernelTable::stream() const {
  return device_ == nullptr ? nullptr : device_->stream.get();
}

}  // namespace annulus::kernels::cuda
