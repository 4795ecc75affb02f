#include "runtime/train/trace.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>

namespace annulus::runtime {

using nlohmann::ordered_json;
using parallel::Hop;
using parallel::Span;
using parallel::TimePoint;

namespace {

// Names the clock that steady_clock reads: one since each start of a machine.
std::string ClockName() {
  std::string id;
  std::ifstream("/proc/sys/kernel/random/boot_id") >> id;
  return id;
}

}  // namespace

TimePoint SharedOrigin(parallel::Communicator& world) {
  world.Barrier();
  const std::string clock = ClockName();
  const TimePoint here = std::chrono::steady_clock::now();
  const auto count = here.time_since_epoch().count();
  TimePoint origin = here;
  for (const std::string& text : world.AllGatherText(fmt::format("{} {}", count, clock))) {
    const size_t space = text.find(' ');
    if (clock.empty() || text.substr(space + 1) != clock) continue;
    const TimePoint::duration since_epoch(std::stoll(text.substr(0, space)));
    origin = std::max(origin, TimePoint(since_epoch));
  }
  return origin;
}

void TraceRecorder::Start(TimePoint origin) {
  origin_ = origin;
  recording_ = true;
}

double TraceRecorder::Microseconds(TimePoint at) const {
  return std::chrono::duration<double, std::micro>(at - origin_).count();
}

void TraceRecorder::Add(Event event) {
  if (recording_) events_.push_back(std::move(event));
}

void TraceRecorder::AddSpan(std::string name, const char* category, const Span& span,
                            ordered_json arguments) {
  Add({.phase = 'X',
       .name = std::move(name),
       .category = category,
       .begin_us = Microseconds(span.begin),
       .duration_us = span.ms() * 1e3,
       .arguments = std::move(arguments)});
}

// An arrow hangs on the span around its end.
void TraceRecorder::AddArrowEnd(char phase, const Hop& hop, TimePoint at) {
  Add({.phase = phase,
       .name = fmt::format("{} to {}", hop.from, hop.to),
       .category = "hop",
       .begin_us = Microseconds(at),
       .id = hop.id,
       .arguments = {{"bytes", hop.bytes}}});
}

void TraceRecorder::OnSend(const Hop& hop, TimePoint at) {
  if (recording_) AddArrowEnd('s', hop, at);
}

void TraceRecorder::OnReceive(const Hop& hop, TimePoint at) {
  if (recording_) AddArrowEnd('f', hop, at);
}

void TraceRecorder::OnWait(std::string_view call, const Span& span) {
  if (recording_) AddSpan(fmt::format("wait: {}", call), "wait", span);
}

void TraceRecorder::OnStep(const parallel::StepRecord& r) {
  if (!recording_) return;
  const char* pass = r.pass == parallel::Pass::kForward ? "attend" : "attend backward";
  std::string name = r.kv_owner < 0 ? fmt::format("{}: no keys", pass)
                                    : fmt::format("{}: keys of rank {}", pass, r.kv_owner);
  AddSpan(std::move(name), "ring", r.span,
          {{"step", r.step},
           {"compute_ms", r.compute_ms()},
           {"wait_ms", r.wait_ms},
           {"bytes_sent", r.bytes_sent}});
}

void TraceRecorder::OnPhase(std::string_view name, int64_t index, const Span& span) {
  if (!recording_) return;
  AddSpan(index < 0 ? std::string(name) : fmt::format("{} {}", name, index), "step", span);
}

ordered_json TraceRecorder::Events(int rank) const {
  ordered_json events = ordered_json::array();
  for (const Event& e : events_) {
    ordered_json event = {{"ph", std::string(1, e.phase)},
                          {"name", e.name},
                          {"cat", e.category},
                          {"pid", 0},
                          {"tid", rank},
                          {"ts", e.begin_us}};
    if (e.phase == 'X') {
      event["dur"] = e.duration_us;
    } else {
      event["id"] = fmt::format("{:016x}", e.id);
    }
    if (e.phase == 'f') event["bp"] = "e";
    if (!e.arguments.empty()) event["args"] = e.arguments;
    events.push_back(std::move(event));
  }
  return events;
}

ordered_json TraceJson(const std::vector<RankTrace>& ranks) {
  ordered_json events = ordered_json::array();
  events.push_back(
      {{"ph", "M"}, {"name", "process_name"}, {"pid", 0}, {"args", {{"name", "annulus"}}}});
  for (const RankTrace& track : ranks) {
    const std::string name = fmt::format("rank {} ({})", track.rank, track.host);
    events.push_back({{"ph", "M"},
                      {"name", "thread_name"},
                      {"pid", 0},
                      {"tid", track.rank},
                      {"args", {{"name", name}}}});
    events.push_back({{"ph", "M"},
                      {"name", "thread_sort_index"},
                      {"pid", 0},
                      {"tid", track.rank},
                      {"args", {{"sort_index", track.rank}}}});
    for (const ordered_json& event : track.events) events.push_back(event);
  }
  return {{"displayTimeUnit", "ms"}, {"traceEvents", std::move(events)}};
}

}  // namespace annulus::runtime
