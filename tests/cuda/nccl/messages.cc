// Messages and groups of them.
#include <set>

#include "tests/cuda/emulator/memory.h"
#include "tests/cuda/emulator/text.h"
#include "tests/cuda/nccl/handles.h"

namespace annulus::nccl_stand_in {
namespace {

// What a thread has issued since it started its outermost group.
struct Group {
  int depth = 0;
  std::vector<std::shared_ptr<Launch>> calls;
  bool is_wrong = false;
};
thread_local Group group;

size_t BytesOf(size_t count, ncclDataType_t type) {
  switch (type) {
    case ncclInt8:
    case ncclUint8:
      return count;
    case ncclBfloat16:
      return 2 * count;
    default:
      return 4 * count;
  }
}

bool IsCollective(const Launch& launch) {
  return launch.messages.empty() || launch.messages.front().collective != 0;
}

// Puts it on its stream, or leaves that to who asks for the state.
ncclResult_t Begin(const std::shared_ptr<Launch>& launch) {
  ncclComm& comm = *launch->comm;
  {
    const std::lock_guard lock(mutex);
    std::erase_if(comm.pending, [](const std::shared_ptr<Launch>& old) { return old->done; });
    comm.pending.push_back(launch);
    if (!comm.blocking) comm.issued.push_back(launch);
  }
  if (!comm.blocking) return ncclInProgress;
  Enqueue(launch);
  return ncclSuccess;
}

ncclResult_t Issue(std::shared_ptr<Launch> launch) {
  for (Message& message : launch->messages) message.launch = launch.get();
  if (group.depth == 0) return Begin(launch);
  group.calls.push_back(std::move(launch));
  return ncclSuccess;
}

ncclResult_t WrongCall(ncclComm_t comm, const std::string& why) {
  group.is_wrong = true;
  return Fail(comm, ncclInvalidArgument, why);
}

// A call with one communicator, and what it reads or writes: memory of its device.
class Call {
 public:
  Call(const char* name, ncclComm_t comm, cudaStream_t stream, ncclDataType_t type)
      : name_(name), comm_(comm), type_(type) {
    if (!IsReady(comm, name)) return;
    if (stream == nullptr) {
      why_ = "on the default stream";
      return;
    }
    launch_ = std::make_shared<Launch>();
    launch_->comm = comm;
    launch_->stream = emulator::StreamOf(stream);
    if (launch_->stream->device != comm->device) why_ = "on a stream of another device";
  }

  void AddMessage(bool sends, int peer, void* data, size_t count, uint64_t collective = 0) {
    if (!launch_) return;
    const size_t bytes = BytesOf(count, type_);
    if (peer < 0 || peer >= comm_->clique->ranks) why_ = "with a rank outside the group";
    CheckMemory(data, bytes);
    Message& message = launch_->messages.emplace_back();
    message.call = name_;
    message.sends = sends;
    message.peer = peer;
    message.data = static_cast<char*>(data);
    message.bytes = bytes;
    message.type = type_;
    message.collective = collective;
  }
  void AddCopy(void* to, const void* from, size_t count) {
    if (!launch_ || to == from) return;
    const size_t bytes = BytesOf(count, type_);
    CheckMemory(to, bytes);
    CheckMemory(from, bytes);
    launch_->copies.push_back({static_cast<char*>(to), static_cast<const char*>(from), bytes});
  }

  ncclResult_t Issue() {
    if (!launch_ && why_.empty()) {
      group.is_wrong = true;
      return ncclInvalidArgument;
    }
    if (!why_.empty()) return WrongCall(comm_, std::string(name_) + " " + why_);
    return nccl_stand_in::Issue(std::move(launch_));
  }

 private:
  void CheckMemory(const void* data, size_t bytes) {
    const std::optional<emulator::Allocation> memory = emulator::FindOnDevice(data);
    if (!memory || memory->device != comm_->device) {
      why_ = "of memory that is not of its device";
    } else if (!memory->Holds(data, bytes)) {
      why_ = "beyond the end of an allocation";
    }
  }

  const char* const name_;
  ncclComm_t const comm_;
  const ncclDataType_t type_;
  std::shared_ptr<Launch> launch_;
  std::string why_;
};

// All calls of a group as one.
ncclResult_t BeginGroup(const std::vector<std::shared_ptr<Launch>>& calls) {
  Launch& first = *calls.front();
  if (calls.size() == 1) return Begin(calls.front());
  auto all = std::make_shared<Launch>();
  all->comm = first.comm;
  all->stream = first.stream;
  for (const std::shared_ptr<Launch>& call : calls) {
    if (call->comm != first.comm) {
      return Fail(first.comm, ncclInvalidUsage, "a group of several communicators");
    }
    if (call->stream != first.stream) {
      return Fail(first.comm, ncclInvalidUsage, "a group on several streams");
    }
    if (IsCollective(*call)) {
      return Fail(first.comm, ncclInvalidUsage, "a group of collectives and other calls");
    }
    for (const Message& message : call->messages) {
      all->messages.push_back(message);
      all->messages.back().launch = all.get();
    }
  }
  return Begin(all);
}

uint64_t NextCollective(ncclComm_t comm) {
  const std::lock_guard lock(mutex);
  return ++comm->collectives;
}

}  // namespace
}  // namespace annulus::nccl_stand_in

using namespace annulus::nccl_stand_in;  // NOLINT: NCCL's names are global

extern "C" {

ncclResult_t ncclGroupStart() {
  ++group.depth;
  return ncclSuccess;
}

ncclResult_t ncclGroupEnd() {
  if (group.depth == 0) return Fail(nullptr, ncclInvalidUsage, "ncclGroupEnd without a start");
  if (--group.depth > 0) return ncclSuccess;
  const std::vector<std::shared_ptr<Launch>> calls = std::move(group.calls);
  const bool is_wrong = std::exchange(group.is_wrong, false);
  group.calls.clear();
  if (is_wrong) return ncclInvalidUsage;
  return calls.empty() ? ncclSuccess : BeginGroup(calls);
}

ncclResult_t ncclSend(const void* data, size_t count, ncclDataType_t type, int peer,
                      ncclComm_t comm, cudaStream_t stream) {
  Call call("ncclSend", comm, stream, type);
  call.AddMessage(true, peer, const_cast<void*>(data), count);
  return call.Issue();
}

ncclResult_t ncclRecv(void* data, size_t count, ncclDataType_t type, int peer, ncclComm_t comm,
                      cudaStream_t stream) {
  Call call("ncclRecv", comm, stream, type);
  call.AddMessage(false, peer, data, count);
  return call.Issue();
}

ncclResult_t ncclAllGather(const void* send, void* receive, size_t count, ncclDataType_t type,
                           ncclComm_t comm, cudaStream_t stream) {
  Call call("ncclAllGather", comm, stream, type);
  if (!IsReady(comm, "ncclAllGather")) return ncclInvalidArgument;
  const uint64_t number = NextCollective(comm);
  for (int rank = 0; rank < comm->clique->ranks; ++rank) {
    char* place = static_cast<char*>(receive) + static_cast<size_t>(rank) * BytesOf(count, type);
    if (rank == comm->rank) {
      call.AddCopy(place, send, count);
    } else {
      call.AddMessage(true, rank, const_cast<void*>(send), count, number);
      call.AddMessage(false, rank, place, count, number);
    }
  }
  return call.Issue();
}

ncclResult_t ncclBroadcast(const void* send, void* receive, size_t count, ncclDataType_t type,
                           int root, ncclComm_t comm, cudaStream_t stream) {
  Call call("ncclBroadcast", comm, stream, type);
  if (!IsReady(comm, "ncclBroadcast")) return ncclInvalidArgument;
  const uint64_t number = NextCollective(comm);
  if (comm->rank != root) {
    call.AddMessage(false, root, receive, count, number);
  } else {
    call.AddCopy(receive, send, count);
    for (int rank = 0; rank < comm->clique->ranks; ++rank) {
      if (rank != root) call.AddMessage(true, rank, const_cast<void*>(send), count, number);
    }
  }
  return call.Issue();
}

}  // extern "C"
