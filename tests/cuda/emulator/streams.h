// Work of streams: what was put on them and has not run.
//
// Work runs on the host thread that waits for it, whoever put it there; what it depends on runs
// before. Nothing else has to, so that what no event orders tends to come in the wrong order.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tests/cuda/emulator/runtime_types.h"
#include "tests/cuda/emulator/work_order.h"

namespace annulus::emulator {

class Stream;
using StreamPointer = std::shared_ptr<Stream>;

// The work number `work` of a stream, counted from 1, and all before it.
struct Point {
  StreamPointer stream;
  uint64_t work = 0;
  WorkClockPointer clock;  // null unless races are looked for
};

// What a piece of work still needs from others, besides what is before it on its stream.
struct Obstacle {
  bool exists = false;
  Point to_run;  // what would remove it; without a stream, another host thread has to act
};

struct Work {
  std::string name;
  std::function<void()> run;           // with the memory of its device open
  std::function<Obstacle()> obstacle;  // may be empty; called often, with streams locked
  std::vector<Point> after;            // of other streams
  WorkClockPointer clock = nullptr;    // given by Enqueue
};

class Stream {
 public:
  Stream(int of_device, bool waits_for_default)
      : device(of_device), joins_default(waits_for_default) {}

  const int device;
  const bool joins_default;  // ordered with the device's default stream

  // Guarded by the lock of all streams.
  std::deque<Work> pending;
  uint64_t issued = 0, done = 0;
  uint64_t number = 0;     // among all streams, from 1
  WorkClockPointer clock;  // of the last work
  bool busy = false;       // its first work is running
};

// Puts work on a stream; of options' choice, runs some of what is pending.
Point Enqueue(const StreamPointer& stream, Work work);

// Runs what is needed until a point is done. The device's error.
cudaError_t RunUntil(const Point& point);
// A single piece of what is needed for it, if that can run now; whether the point is done.
bool RunSomeFor(const Point& point);
bool IsDone(const Point& point);

// The last work so far.
Point EndOf(const StreamPointer& stream);
// All streams of a device.
std::vector<Point> EndsOf(int device);

// The stream of a handle, null of the current device's default stream.
StreamPointer StreamOf(cudaStream_t handle);
StreamPointer DefaultStream(int device);
StreamPointer CreateStream(int device, bool joins_default, cudaStream_t* handle);
bool DestroyStream(cudaStream_t handle);

// The device that the calling host thread has chosen.
int CurrentDevice();
void SetCurrentDevice(int device);

// An error of work that ran, which later calls return, too, until reports are taken.
void FailDevice(int device, cudaError_t error);
cudaError_t ErrorOf(int device);
void ForgetErrors();

}  // namespace annulus::emulator
