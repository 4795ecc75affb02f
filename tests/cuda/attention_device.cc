#include "tests/cuda/attention_device.h"

#include <gtest/gtest.h>

#include <vector>

namespace annulus::kernels::cuda {
namespace {

class DeviceTarget final : public AttentionTarget {
 public:
  explicit DeviceTarget(int capability) : device_{stream_.get(), capability} {}
  // Before the memory goes; what fails here has failed before.
  ~DeviceTarget() override { static_cast<void>(cudaStreamSynchronize(stream_.get())); }

  void* Allocate(int64_t bytes) override {
    return memory_.emplace_back(ReserveDeviceMemory(bytes, "a test")).get();
  }
  void Upload(const void* from, void* to, int64_t bytes) override {
    Copy(from, to, bytes, cudaMemcpyHostToDevice);
  }
  void Download(const void* from, void* to, int64_t bytes) override {
    Copy(from, to, bytes, cudaMemcpyDeviceToHost);
  }

  int64_t ForwardStateBytes(const AttentionProblem& p) const override {
    return AttentionForwardStateBytes(p);
  }
  int64_t ForwardScratchBytes(const AttentionProblem&, int64_t) const override { return 0; }
  void ForwardBegin(const AttentionForwardArgs& args) override {
    AttentionForwardBegin(args, device_);
  }
  void ForwardFold(const AttentionForwardArgs& args, const KeyBlock& block, View) override {
    AttentionForwardFold(args, block, device_);
  }
  void ForwardLast(const AttentionForwardArgs& args, const KeyBlock& block,
                   const AttentionOutputs& outputs, View) override {
    AttentionForwardLast(args, block, outputs, device_);
  }
  void ForwardFinish(const AttentionForwardArgs& args, const AttentionOutputs& outputs) override {
    AttentionForwardFinish(args, outputs, device_);
  }

  int64_t BackwardStateBytes(const AttentionProblem& p) const override {
    return AttentionBackwardStateBytes(p);
  }
  int64_t BackwardScratchBytes(const AttentionProblem&, int64_t) const override { return 0; }
  void BackwardBegin(const AttentionBackwardArgs& args) override {
    AttentionBackwardBegin(args, device_);
  }
  void BackwardFold(const AttentionBackwardArgs& args, const KeyBlock& block,
                    const KeyBlockGradient& gradient, View) override {
    AttentionBackwardFold(args, block, gradient, device_);
  }
  void BackwardFinish(const AttentionBackwardArgs& args, View dq) override {
    AttentionBackwardFinish(args, dq, device_);
  }

 private:
  void Copy(const void* from, void* to, int64_t bytes, cudaMemcpyKind kind) {
    CheckCuda(cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), kind, stream_.get()),
              "cudaMemcpyAsync");
    stream_.Wait();
  }

  Stream stream_;
  AttentionDevice device_;
  std::vector<DeviceMemory> memory_;
};

}  // namespace

AttentionResult RunOnDevice(const AttentionCase& c, int capability) {
  DeviceTarget target(capability);
  return RunAttention(c, target);
}

void ExpectAccurateOnDevice(const AttentionCase& c, int capability, const Tolerance& tolerance) {
  AttentionTruth(c).Expect(RunOnDevice(c, capability), tolerance);
}

}  // namespace annulus::kernels::cuda
