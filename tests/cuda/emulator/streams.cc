#include "tests/cuda/emulator/streams.h"

#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>

#include "tests/cuda/emulator/memory.h"
#include "tests/cuda/emulator/options.h"
#include "tests/cuda/emulator/random.h"
#include "tests/cuda/emulator/report.h"
#include "tests/cuda/emulator/text.h"

struct CUstream_st {
  annulus::emulator::StreamPointer stream;
};

namespace annulus::emulator {
namespace {

constexpr int kMostDevices = 16;

std::mutex mutex;
std::condition_variable changed;
std::vector<std::weak_ptr<Stream>> streams;               // guarded by mutex
std::array<StreamPointer, kMostDevices> default_streams;  // guarded by mutex
std::array<std::atomic<cudaError_t>, kMostDevices> errors;
thread_local int current_device = 0;

using Lock = std::unique_lock<std::mutex>;

Random& Dice() {
  static Random dice(1);
  static uint64_t seed = 0;
  if (seed != TheOptions().seed) dice = Random(seed = TheOptions().seed);
  return dice;
}

bool Done(const Point& point) { return point.stream->done >= point.work; }

uint64_t stream_count = 0;  // guarded by mutex
WorkClock host_clock;       // of all host threads; guarded by mutex

// The host knows that a point is done.
void Learn(const Point& point) {
  if (point.clock != nullptr) Join(host_clock, *point.clock);
}

// The clock of a stream's next work.
WorkClockPointer NextClock(Stream& stream, const std::vector<Point>& after) {
  if (!RacesAreDetected()) return nullptr;
  if (stream.number == 0) stream.number = ++stream_count;
  auto clock = std::make_shared<WorkClock>(host_clock);
  if (stream.clock != nullptr) Join(*clock, *stream.clock);
  for (const Point& point : after) {
    if (point.clock != nullptr) Join(*clock, *point.clock);
  }
  (*clock)[stream.number] = stream.issued + 1;
  return clock;
}

// The stream whose first work can run now and has to before `stream` can go on; null if there is
// none.
Stream* FindRunnable(Stream& stream, std::vector<const Stream*>& visited) {
  for (const Stream* seen : visited) {
    if (seen == &stream) return nullptr;
  }
  visited.push_back(&stream);
  if (stream.busy || stream.pending.empty()) return nullptr;
  const Work& first = stream.pending.front();
  for (const Point& point : first.after) {
    if (!Done(point)) return FindRunnable(*point.stream, visited);
  }
  if (!first.obstacle) return &stream;
  const Obstacle obstacle = first.obstacle();
  if (!obstacle.exists) return &stream;
  return obstacle.to_run.stream ? FindRunnable(*obstacle.to_run.stream, visited) : nullptr;
}
Stream* FindRunnable(Stream& stream) {
  std::vector<const Stream*> visited;
  return FindRunnable(stream, visited);
}

void RunFirst(Stream& stream, Lock& lock) {
  Work work = std::move(stream.pending.front());
  stream.pending.pop_front();
  stream.busy = true;
  const uint64_t number = stream.done + 1;
  lock.unlock();
  if (work.run && errors[static_cast<size_t>(stream.device)] == cudaSuccess) {
    const DeviceMemoryOpen open(stream.device);
    const InWork running({stream.number, number, work.name.c_str(), work.clock});
    work.run();
    CheckEnds(stream.device, work.name.c_str());
  }
  lock.lock();
  stream.busy = false;
  ++stream.done;
  changed.notify_all();
}

// Runs a piece of work that nobody asked for, on any stream; false if there is none that can.
bool RunAnything(Lock& lock) {
  std::vector<StreamPointer> candidates;
  for (const std::weak_ptr<Stream>& weak : streams) {
    StreamPointer stream = weak.lock();
    if (stream && FindRunnable(*stream) == stream.get()) candidates.push_back(std::move(stream));
  }
  if (candidates.empty()) return false;
  RunFirst(*candidates[Dice().Below(static_cast<uint32_t>(candidates.size()))], lock);
  return true;
}

void RunUnasked(Lock& lock) {
  switch (TheOptions().streams) {
    case Effect::kLazy:
      return;
    case Effect::kEager:
      while (RunAnything(lock)) {
      }
      return;
    case Effect::kRandom:
      while (Dice().OneIn(2) && RunAnything(lock)) {
      }
  }
}

void TellStuck(const Stream& stream) {
  const char* name = stream.pending.empty() ? "nothing" : stream.pending.front().name.c_str();
  Tell(Defect::kDeadlock,
       Text("work %llu of a stream of device %d (%s) waits for what nobody does, for %.0f s",
            static_cast<unsigned long long>(stream.done + 1), stream.device, name,
            TheOptions().patience_s));
}

// Of a stream that joins the default stream, or is one: what new work has to wait for.
void AddLegacyOrder(const Stream& stream, Work& work) {
  const StreamPointer& legacy = default_streams[static_cast<size_t>(stream.device)];
  if (!legacy || !stream.joins_default) return;
  if (&stream != legacy.get()) {
    work.after.push_back({legacy, legacy->issued, legacy->clock});
    return;
  }
  for (const std::weak_ptr<Stream>& weak : streams) {
    const StreamPointer other = weak.lock();
    if (other && other != legacy && other->device == stream.device && other->joins_default) {
      work.after.push_back({other, other->issued, other->clock});
    }
  }
}

}  // namespace

Point Enqueue(const StreamPointer& stream, Work work) {
  Lock lock(mutex);
  AddLegacyOrder(*stream, work);
  work.clock = stream->clock = NextClock(*stream, work.after);
  const Point point{stream, ++stream->issued, work.clock};
  stream->pending.push_back(std::move(work));
  changed.notify_all();
  RunUnasked(lock);
  return point;
}

cudaError_t RunUntil(const Point& point) {
  Lock lock(mutex);
  const auto patience = std::chrono::duration<double>(TheOptions().patience_s);
  auto deadline = std::chrono::steady_clock::now() + patience;
  while (!Done(point)) {
    if (TheOptions().streams == Effect::kRandom && Dice().OneIn(4)) RunAnything(lock);
    if (Done(point)) break;
    Stream* runnable = FindRunnable(*point.stream);
    if (runnable != nullptr) {
      RunFirst(*runnable, lock);
      deadline = std::chrono::steady_clock::now() + patience;
    } else if (changed.wait_until(lock, deadline) == std::cv_status::timeout) {
      TellStuck(*point.stream);
      FailDevice(point.stream->device, cudaErrorLaunchTimeout);
      break;
    }
  }
  if (Done(point)) Learn(point);
  return ErrorOf(point.stream->device);
}

bool RunSomeFor(const Point& point) {
  Lock lock(mutex);
  Stream* runnable = Done(point) ? nullptr : FindRunnable(*point.stream);
  if (runnable != nullptr) RunFirst(*runnable, lock);
  if (Done(point)) Learn(point);
  return Done(point);
}

bool IsDone(const Point& point) {
  const Lock lock(mutex);
  return Done(point);
}

Point EndOf(const StreamPointer& stream) {
  const Lock lock(mutex);
  return {stream, stream->issued, stream->clock};
}

std::vector<Point> EndsOf(int device) {
  const Lock lock(mutex);
  std::vector<Point> result;
  for (const std::weak_ptr<Stream>& weak : streams) {
    const StreamPointer stream = weak.lock();
    if (stream && stream->device == device)
      result.push_back({stream, stream->issued, stream->clock});
  }
  return result;
}

StreamPointer DefaultStream(int device) {
  const Lock lock(mutex);
  StreamPointer& stream = default_streams[static_cast<size_t>(device)];
  if (!stream) {
    stream = std::make_shared<Stream>(device, true);
    streams.push_back(stream);
  }
  return stream;
}

StreamPointer StreamOf(cudaStream_t handle) {
  return handle == nullptr ? DefaultStream(current_device) : handle->stream;
}

StreamPointer CreateStream(int device, bool joins_default, cudaStream_t* handle) {
  DefaultStream(device);
  auto stream = std::make_shared<Stream>(device, joins_default);
  *handle = new CUstream_st{stream};
  const Lock lock(mutex);
  std::erase_if(streams, [](const std::weak_ptr<Stream>& weak) { return weak.expired(); });
  streams.push_back(stream);
  return stream;
}

bool DestroyStream(cudaStream_t handle) {
  if (handle == nullptr) return false;
  RunUntil(EndOf(handle->stream));
  delete handle;
  return true;
}

int CurrentDevice() { return current_device; }
void SetCurrentDevice(int device) { current_device = device; }

void FailDevice(int device, cudaError_t error) { errors[static_cast<size_t>(device)] = error; }
cudaError_t ErrorOf(int device) { return errors[static_cast<size_t>(device)]; }
void ForgetErrors() {
  for (auto& error : errors) error = cudaSuccess;
}

}  // namespace annulus::emulator
