#include "parallel/nccl_rank.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <utility>

#include "kernels/base/error.h"

namespace annulus::parallel {
namespace {

using Clock = std::chrono::steady_clock;
using kernels::cuda::Event;

}  // namespace

void NcclFlight::AddPeer(int world_rank) {
  const auto place = std::lower_bound(peers_.begin(), peers_.end(), world_rank);
  if (place == peers_.end() || *place != world_rank) peers_.insert(place, world_rank);
}

std::string NcclFlight::What() const {
  if (peers_.empty()) return std::string(call_);
  return fmt::format("{} with rank{} {}", call_, peers_.size() == 1 ? "" : "s",
                     fmt::join(peers_, ", "));
}

NcclRank::NcclRank(Communicator& host, const NcclOptions& options)
    : host_(host), options_(options), watch_([this] { Poll(); }) {
  if (host.size() == 1) return;
  staging_memory_ =
      kernels::cuda::ReserveDeviceMemory(options.staging_bytes, "all-reduces over NCCL");
  staging_.memory = reinterpret_cast<float*>(staging_memory_.get());
  staging_.elements = options.staging_bytes / static_cast<int64_t>(sizeof(float));
}

void NcclRank::Drain() {
  if (!failed_) stream_.Wait();
}

std::shared_ptr<NcclComm> NcclRank::Join(Communicator& host) {
  auto comm = std::make_shared<NcclComm>(host, options_.deadline);
  std::erase_if(comms_, [](const std::weak_ptr<NcclComm>& other) { return other.expired(); });
  comms_.push_back(comm);
  return comm;
}

void NcclRank::Launch(const std::shared_ptr<NcclFlight>& flight,
                      const std::function<void()>& issue) {
  CheckAlive(flight->call_);
  try {
    flight->ready_.Record(options_.compute);
    flight->ready_.HoldUp(stream());
    issue();
    flight->done_.Record(stream());
  } catch (const std::exception& error) {
    Abandon(error.what());
    throw;
  }
  flight->launched_ = true;
  while (!flights_.empty() && flights_.front()->done_.Done()) flights_.pop_front();
  flights_.push_back(flight);
}

void NcclRank::HoldUp(NcclFlight& flight, const void* owner, const CountWait& count) {
  CheckAlive(flight.call_);
  Check(flight.launched_, "rank {}: {} is waited for before it was launched",
        host_.WorldRank(host_.rank()), flight.What());
  if (std::exchange(flight.awaited_, true)) return;
  auto wait = std::make_unique<Wait>();
  wait->owner = owner;
  wait->count = count;
  wait->before.Record(options_.compute);
  flight.done_.HoldUp(options_.compute);
  wait->after.Record(options_.compute);
  CountWaits();
  waits_.push_back(std::move(wait));
}

void NcclRank::CountWaits() {
  while (!waits_.empty() && waits_.front()->after.Done()) {
    const std::unique_ptr<Wait> wait = std::move(waits_.front());
    waits_.pop_front();
    if (wait->count) wait->count(Event::MillisecondsBetween(wait->before, wait->after));
  }
}

void NcclRank::Forget(const void* owner) {
  for (const std::unique_ptr<Wait>& wait : waits_) {
    if (wait->owner == owner) wait->count = nullptr;
  }
}

void NcclRank::Poll() {
  CheckAlive("a wait for the device");
  try {
    host_.Progress();
    for (const std::weak_ptr<NcclComm>& weak : comms_) {
      if (const std::shared_ptr<NcclComm> comm = weak.lock()) comm->CheckHealth();
    }
    CheckFlights();
  } catch (const std::exception& error) {
    Abandon(error.what());
    throw;
  }
}

void NcclRank::CheckFlights() {
  while (!flights_.empty() && flights_.front()->done_.Done()) flights_.pop_front();
  if (flights_.empty()) return;
  NcclFlight& first = *flights_.front();
  const Clock::time_point now = Clock::now();
  if (!first.waits_since_) {
    if (first.ready_.Done()) first.waits_since_ = now;
    return;
  }
  if (now - *first.waits_since_ < options_.deadline) return;
  ThrowSystemError("rank {}: {} over NCCL: not done within {:.3g} s of its start",
                   host_.WorldRank(host_.rank()), first.What(),
                   std::chrono::duration<double>(options_.deadline).count());
}

void NcclRank::CheckAlive(std::string_view what) const {
  if (!failed_) [[likely]]
    return;
  ThrowSystemError("rank {}: {} given up after an earlier failure: {}",
                   host_.WorldRank(host_.rank()), what, failure_);
}

void NcclRank::Abandon(const std::string& why) noexcept {
  if (std::exchange(failed_, true)) return;
  failure_ = why;
  for (const std::weak_ptr<NcclComm>& weak : comms_) {
    if (const std::shared_ptr<NcclComm> comm = weak.lock()) comm->Abort();
  }
}

}  // namespace annulus::parallel
