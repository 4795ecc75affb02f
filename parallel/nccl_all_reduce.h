// The all-reduce on devices, out of messages: what parallel/message_communicator.h does on hosts.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "parallel/nccl_comm.h"

namespace annulus::parallel {

struct NcclStaging {
  float* memory = nullptr;  // of the device
  int64_t elements = 0;
};

// Puts on `stream`: data[i] = the sum over ranks, as nccl_sum.h takes it. Each rank sums its share
// (ShareOf) of what all send it, then sends the sum to all, in windows of the shares that fit
// `staging`. Bytes and messages: communicator.h. Requires room for one element of each other rank.
void EnqueueAllReduce(NcclComm& comm, float* data, int64_t elements, const NcclStaging& staging,
                      cudaStream_t stream);

}  // namespace annulus::parallel
