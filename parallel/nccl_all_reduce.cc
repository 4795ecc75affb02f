#include "parallel/nccl_all_reduce.h"

#include <algorithm>

#include "kernels/base/error.h"
#include "parallel/nccl_sum.h"

namespace annulus::parallel {
namespace {

// Elements of a tensor.
struct Range {
  int64_t begin = 0;
  int64_t end = 0;

  int64_t bytes() const { return (end - begin) * static_cast<int64_t>(sizeof(float)); }
};

class AllReduce {
 public:
  AllReduce(NcclComm& comm, float* data, int64_t elements, const NcclStaging& staging,
            cudaStream_t stream)
      : comm_(comm), data_(data), elements_(elements), staging_(staging), stream_(stream) {
    window_ = staging.elements / (comm.size() - 1);
    Check(window_ > 0, "no room to reduce over {} ranks", comm.size());
  }

  // A step sends the next window of shares and the sums of the one before.
  void Run() {
    const int64_t most = ShareOf(elements_, 0, comm_.size()).size();
    const int64_t windows = (most + window_ - 1) / window_;
    for (int64_t step = 0; step <= windows; ++step) {
      comm_.Group([&] {
        for (int peer = 0; peer < comm_.size(); ++peer) {
          if (peer == comm_.rank()) continue;
          Exchange(peer, Window(peer, step), StagedBy(peer), Window(comm_.rank(), step));
          const Range theirs = Window(peer, step - 1);
          Exchange(peer, Window(comm_.rank(), step - 1), data_ + theirs.begin, theirs);
        }
      });
      Sum(Window(comm_.rank(), step));
    }
  }

 private:
  // Of the share of `rank`; windows before the first and after the last one are empty.
  Range Window(int rank, int64_t index) const {
    const Share share = ShareOf(elements_, rank, comm_.size());
    const int64_t begin = std::min(share.begin + index * window_, share.end);
    if (index < 0) return {share.begin, share.begin};
    return {begin, std::min(begin + window_, share.end)};
  }

  float* StagedBy(int peer) const {
    return staging_.memory + (peer < comm_.rank() ? peer : peer - 1) * window_;
  }

  // Sends `out` of the data, receives as many elements as `in` has.
  void Exchange(int peer, const Range& out, float* to, const Range& in) {
    if (out.bytes() > 0) comm_.Send(data_ + out.begin, out.bytes(), peer, stream_);
    if (in.bytes() > 0) comm_.Receive(to, in.bytes(), peer, stream_);
  }

  void Sum(const Range& own) const {
    EnqueueSumInRankOrder({.own = data_ + own.begin,
                           .staged = staging_.memory,
                           .stride = window_,
                           .count = own.end - own.begin,
                           .rank = comm_.rank(),
                           .size = comm_.size()},
                          stream_);
  }

  NcclComm& comm_;
  float* const data_;
  const int64_t elements_;
  const NcclStaging staging_;
  const cudaStream_t stream_;
  int64_t window_;
};

}  // namespace

void EnqueueAllReduce(NcclComm& comm, float* data, int64_t elements, const NcclStaging& staging,
                      cudaStream_t stream) {
  AllReduce(comm, data, elements, staging, stream).Run();
}

}  // namespace annulus::parallel
