// Work of streams that no event orders, and host threads that wait for each other.
#include <array>
#include <mutex>
#include <thread>

#include "kernels/cuda/ptx.h"
#include "tests/cuda/defects/told.h"

namespace annulus {
namespace {

__global__ void Add(const int* from, int* to, int by) { to[threadIdx.x] = from[threadIdx.x] + by; }

// A stream of its own.
class Stream {
 public:
  Stream() { EXPECT_EQ(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), cudaSuccess); }
  ~Stream() { EXPECT_EQ(cudaStreamDestroy(stream_), cudaSuccess); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  cudaStream_t get() const { return stream_; }
  void AddTo(const int* from, int* to, int by) const {
    cudaLaunchConfig_t config{};
    config.blockDim = 32;
    config.stream = stream_;
    EXPECT_EQ(cudaLaunchKernelEx(&config, Add, from, to, by), cudaSuccess);
  }
  void Wait() const { EXPECT_EQ(cudaStreamSynchronize(stream_), cudaSuccess); }

 private:
  cudaStream_t stream_;
};

class Event {
 public:
  Event() { EXPECT_EQ(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), cudaSuccess); }
  ~Event() { EXPECT_EQ(cudaEventDestroy(event_), cudaSuccess); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  cudaEvent_t get() const { return event_; }
  void Record(const Stream& on) const { EXPECT_EQ(cudaEventRecord(event_, on.get()), cudaSuccess); }
  void HoldUp(const Stream& stream) const {
    EXPECT_EQ(cudaStreamWaitEvent(stream.get(), event_), cudaSuccess);
  }

 private:
  cudaEvent_t event_;
};

// Two streams pass numbers on; the second is waited for. True if the result is right.
bool PassOn(bool event_recorded, bool event_waited_for) {
  const OnDevice<int> x(std::vector<int>(32, 1)), y(std::vector<int>(32, 0)), z(32);
  const Stream first, second;
  const Event done;
  first.AddTo(x.get(), y.get(), 10);
  if (event_recorded) done.Record(first);
  if (event_waited_for) done.HoldUp(second);
  second.AddTo(y.get(), z.get(), 100);
  second.Wait();
  return z.Read()[31] == 111;
}

int CountWrong(bool event_recorded, bool event_waited_for) {
  int wrong = 0;
  emulator::ForEachSchedule(8, [&](const std::string&) {
    if (!PassOn(event_recorded, event_waited_for)) ++wrong;
    if (IsRaceFlavour() && !(event_recorded && event_waited_for)) {
      ExpectTold(emulator::Defect::kStream, "streams_test.cu:");
    } else {
      ExpectNothingTold();
    }
  });
  return wrong;
}

TEST(Streams, AreOrderedByEvents) { EXPECT_EQ(CountWrong(true, true), 0); }
TEST(Streams, AreNotOrderedWithoutAnEvent) { EXPECT_GT(CountWrong(false, false), 0); }
TEST(Streams, AreNotOrderedByAnEventThatNobodyWaitsFor) { EXPECT_GT(CountWrong(true, false), 0); }
TEST(Streams, AreNotOrderedByAnEventThatIsNotRecorded) { EXPECT_GT(CountWrong(false, true), 0); }

TEST(Streams, WhatAHostWaitedForIsOrderedBeforeWhatItDoesNext) {
  emulator::ForEachSchedule(4, [](const std::string& schedule) {
    SCOPED_TRACE(schedule);
    const OnDevice<int> x(std::vector<int>(32, 1)), y(32), z(32);
    const Stream first, second;
    first.AddTo(x.get(), y.get(), 10);
    first.Wait();
    second.AddTo(y.get(), z.get(), 100);
    second.Wait();
    EXPECT_EQ(z.Read()[0], 111);
    ExpectNothingTold();
  });
}

TEST(Streams, CopiesFromPinnedMemoryReadItLate) {
  int* pinned = nullptr;
  ASSERT_EQ(cudaMallocHost(&pinned, 128), cudaSuccess);
  const OnDevice<int> x(32);
  const Stream stream;
  int changed = 0;
  emulator::ForEachSchedule(6, [&](const std::string&) {
    pinned[5] = 1;
    ASSERT_EQ(cudaMemcpyAsync(x.get(), pinned, 128, cudaMemcpyHostToDevice, stream.get()),
              cudaSuccess);
    pinned[5] = 2;  // too early
    stream.Wait();
    changed += x.Read()[5] == 2;
  });
  EXPECT_GT(changed, 0);
  std::vector<int> pageable(32, 3);
  ASSERT_EQ(cudaMemcpyAsync(x.get(), pageable.data(), 128, cudaMemcpyHostToDevice, stream.get()),
            cudaSuccess);
  pageable[5] = 4;  // CUDA has copied it
  stream.Wait();
  EXPECT_EQ(x.Read()[5], 3);
  EXPECT_EQ(cudaFreeHost(pinned), cudaSuccess);
}

TEST(Streams, TheDefaultStreamJoinsOthersThatDoNotRefuse) {
  emulator::ForEachSchedule(6, [](const std::string& schedule) {
    SCOPED_TRACE(schedule);
    const OnDevice<int> x(std::vector<int>(32, 1)), y(32), z(32);
    cudaStream_t joining;
    ASSERT_EQ(cudaStreamCreate(&joining), cudaSuccess);
    cudaLaunchConfig_t config{};
    config.blockDim = 32;
    config.stream = joining;
    ASSERT_EQ(cudaLaunchKernelEx(&config, Add, x.get(), y.get(), 10), cudaSuccess);
    ASSERT_EQ(Launch({1, 32}, Add, y.get(), z.get(), 100), cudaSuccess);
    EXPECT_EQ(z.Read()[3], 111);
    ExpectNothingTold();
    EXPECT_EQ(cudaStreamDestroy(joining), cudaSuccess);
  });
}

TEST(Streams, QueriesMakeProgress) {
  emulator::ForEachSchedule(3, [](const std::string& schedule) {
    SCOPED_TRACE(schedule);
    const OnDevice<int> x(std::vector<int>(32, 1)), y(32);
    const Stream stream;
    const Event done;
    EXPECT_EQ(cudaEventQuery(done.get()), cudaSuccess);
    for (int i = 0; i < 5; ++i) stream.AddTo(x.get(), y.get(), i);
    done.Record(stream);
    int queries = 1;
    while (cudaEventQuery(done.get()) == cudaErrorNotReady) ASSERT_LT(++queries, 100);
    EXPECT_EQ(y.Read()[1], 5);
  });
}

// Ranks as threads, each with a device and streams of its own.
TEST(Streams, HostThreadsRunKernelsAtOnce) {
  std::vector<int> results(4);
  std::vector<std::thread> ranks;
  for (int rank = 0; rank < 4; ++rank) {
    ranks.emplace_back([rank, &results] {
      EXPECT_EQ(cudaSetDevice(rank), cudaSuccess);
      const OnDevice<int> x(std::vector<int>(32, rank)), y(32);
      const Stream stream;
      for (int i = 0; i < 50; ++i) {
        stream.AddTo(x.get(), y.get(), 1);
        stream.AddTo(y.get(), x.get(), 1);
      }
      stream.Wait();
      results[static_cast<size_t>(rank)] = x.Read()[13];
    });
  }
  for (std::thread& rank : ranks) rank.join();
  for (int rank = 0; rank < 4; ++rank) EXPECT_EQ(results[static_cast<size_t>(rank)], rank + 100);
  ExpectNothingTold();
}

// Both ranks' works on their streams meet: neither goes on before the other is there, as in a
// library of collectives. Who is last does it for both.
class Meeting {
 public:
  void Join(int rank, const Stream& stream, int* data) {
    const emulator::StreamPointer at = emulator::StreamOf(stream.get());
    const uint64_t before = emulator::EndOf(at).work;
    {
      const std::lock_guard lock(mutex_);
      joined_[static_cast<size_t>(rank)] = {at, before, data};
    }
    emulator::Enqueue(
        at, {"a meeting", [this] { Swap(); }, [this, rank] { return WaitsFor(rank); }, {}});
  }

 private:
  struct Joined {
    emulator::StreamPointer stream;
    uint64_t before = 0;  // works
    int* data = nullptr;
  };

  // Called with streams locked.
  emulator::Obstacle WaitsFor(int rank) {
    const std::lock_guard lock(mutex_);
    const Joined& other = joined_[static_cast<size_t>(1 - rank)];
    if (!other.stream) return {true, {}};
    if (other.stream->done >= other.before) return {};
    return {true, {other.stream, other.before}};
  }
  void Swap() {
    const std::lock_guard lock(mutex_);
    if (done_) return;
    done_ = true;
    const emulator::DeviceMemoryOpen first(0), second(1);
    std::swap(joined_[0].data[7], joined_[1].data[7]);
  }

  std::mutex mutex_;
  std::array<Joined, 2> joined_;
  bool done_ = false;
};

TEST(Streams, WorkOfTwoHostThreadsMeets) {
  emulator::ForEachSchedule(4, [](const std::string& schedule) {
    SCOPED_TRACE(schedule);
    Meeting meeting;
    std::vector<int> results(2);
    std::vector<std::thread> ranks;
    for (int rank = 0; rank < 2; ++rank) {
      ranks.emplace_back([rank, &meeting, &results] {
        EXPECT_EQ(cudaSetDevice(rank), cudaSuccess);
        const OnDevice<int> x(std::vector<int>(32, rank)), y(32);
        const Stream stream;
        stream.AddTo(x.get(), y.get(), 10);
        meeting.Join(rank, stream, y.get());
        stream.AddTo(y.get(), x.get(), 100);
        stream.Wait();
        results[static_cast<size_t>(rank)] = x.Read()[7];
      });
    }
    for (std::thread& rank : ranks) rank.join();
    EXPECT_EQ(results, (std::vector<int>{111, 110}));
    ExpectNothingTold();
  });
}

TEST(Streams, WorkThatNobodyMeetsIsADeadlock) {
  const emulator::Options before = emulator::TheOptions();
  emulator::TheOptions().patience_s = 0.2;
  const Stream stream;
  bool alone = true;
  emulator::Enqueue(emulator::StreamOf(stream.get()), {"a meeting",
                                                       {},
                                                       [&alone] {
                                                         return emulator::Obstacle{alone, {}};
                                                       },
                                                       {}});
  EXPECT_EQ(cudaStreamSynchronize(stream.get()), cudaErrorLaunchTimeout);
  alone = false;
  ExpectTold(emulator::Defect::kDeadlock, "(a meeting) waits for what nobody does");
  emulator::TheOptions() = before;
}

}  // namespace
}  // namespace annulus
