// What each rank did and when, for chrome://tracing and https://ui.perfetto.dev: one track per
// rank, arrows from the sender of a message to its receiver. Format: Trace Event Format (Chromium).
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "parallel/communicator.h"

namespace annulus::runtime {

// One rank's events, while it records. Not part of the ledger: it holds no tensors.
class TraceRecorder final : public parallel::Observer {
 public:
  // `origin` is where time begins: see SharedOrigin.
  void Start(parallel::TimePoint origin);
  void Stop() { recording_ = false; }

  void OnSend(const parallel::Hop& hop, parallel::TimePoint at) override;
  void OnReceive(const parallel::Hop& hop, parallel::TimePoint at) override;
  void OnWait(std::string_view call, const parallel::Span& span) override;
  void OnStep(const parallel::StepRecord& record) override;
  void OnPhase(std::string_view name, int64_t index, const parallel::Span& span) override;

  // The events on track `rank`, an array.
  nlohmann::ordered_json Events(int rank) const;

 private:
  struct Event {
    char phase;  // 'X': a span, 's' and 'f': the ends of an arrow
    std::string name;
    const char* category;
    double begin_us;
    double duration_us = 0;
    uint64_t id = 0;
    nlohmann::ordered_json arguments = {};
  };
  double Microseconds(parallel::TimePoint at) const;
  void Add(Event event);
  void AddSpan(std::string name, const char* category, const parallel::Span& span,
               nlohmann::ordered_json arguments = {});
  void AddArrowEnd(char phase, const parallel::Hop& hop, parallel::TimePoint at);

  bool recording_ = false;
  parallel::TimePoint origin_;
  std::vector<Event> events_;
};

// A moment for all ranks to count from. Collective. Clocks of hosts differ and are set equal at the
// end of a barrier, which is right to about the latency of a message; ranks of one host share both
// clock and origin.
parallel::TimePoint SharedOrigin(parallel::Communicator& world);

// A track's name and its events.
struct RankTrace {
  int rank = 0;
  std::string host;
  nlohmann::ordered_json events;  // an array
};

// The whole file.
nlohmann::ordered_json TraceJson(const std::vector<RankTrace>& ranks);

}  // namespace annulus::runtime
