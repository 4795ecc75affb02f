// Tensors in the memory of GPUs, moved by NCCL: groups of ranks that have a device each.
//
// Every operation is put on a stream of the rank's own, beside the one that computes. It begins
// when what the host had put on the compute stream by then is done, and Transfer::Wait() makes the
// compute stream wait for it; the host goes on at once. So buffers are in use until the compute
// stream has passed the wait, and memory that is reused by later work of that stream is safe.
//
// Where the host waits (device.h), it looks after what is under way: an error that NCCL reports, or
// a peer that does not come within the deadline, ends the wait with a SystemError that names rank,
// call and peers, and aborts NCCL's communicators, so that nothing of them stays on the device. The
// deadline counts from when an operation could begin on this rank.
//
// counters().wait_ms: between two events around each wait of the compute stream, plus the host's
// own waits. The all-reduce is ours (nccl_all_reduce.h): NCCL promises one result on all ranks, but
// not which order it sums in, and that the order stays the same with other algorithms, topologies
// or versions; here it is that of the other transports, bit for bit.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "parallel/communicator.h"

struct CUstream_st;  // cudaStream_t, without the headers of CUDA

namespace annulus::parallel {

// As in "2.28.9"; empty without NCCL.
std::string NcclVersion();

// Why the ranks of `host` cannot have NCCL: it is not built in, or two of them share a device.
// Empty, on all ranks, where they can. Collective; the device is the calling thread's.
std::string NcclProblem(Communicator& host);

struct NcclOptions {
  // Of this rank's device, which must be the calling thread's: the one that computes.
  CUstream_st* compute = nullptr;
  std::chrono::steady_clock::duration deadline = kDefaultDeadline;
  // Of the device's memory, for all-reduces under way, whatever their size.
  int64_t staging_bytes = int64_t{32} << 20;
};

// The ranks of `host` over NCCL; what concerns the host alone (texts, doubles, barriers, aborts)
// goes over `host`, which must outlive this. Collective. Every call comes from the calling thread.
// Throws ConfigError on all ranks where there is a NcclProblem(), SystemError where NCCL fails or a
// rank does not come.
std::unique_ptr<Communicator> CreateNcclWorld(Communicator& host, const NcclOptions& options);

}  // namespace annulus::parallel
