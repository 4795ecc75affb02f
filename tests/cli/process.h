// Programs as a user runs them: started, watched against a deadline, and what they said.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace annulus::runtime {

struct Outcome {
  int status = 0;  // as a shell has it: the exit status, or 128 + the signal
  std::string out = {};
  std::string err = {};
  int64_t peak_resident_bytes = 0;  // of the program itself, or of the largest of its children
};

// Names and values that a program finds in its environment, beside those of the test.
using Variables = std::map<std::string, std::string>;

// A program under way, in a process group of its own. What was started by a launcher around the
// test (mpirun, srun) is hidden from it.
class Process {
 public:
  explicit Process(const std::vector<std::string>& command, const Variables& variables = {});
  // Ends the program and what it started, if it still runs.
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  pid_t pid() const { return pid_; }

  // Collects output until the program ends; nothing if it has not ended within `limit`.
  std::optional<Outcome> Wait(std::chrono::milliseconds limit);

 private:
  void Signal(int signal) const;

  pid_t pid_ = -1;
  bool ended_ = false;
  int out_ = -1;
  int err_ = -1;
  Outcome outcome_;
};

// The processes called `name` that descend from `ancestor`.
std::vector<pid_t> DescendantsCalled(pid_t ancestor, const std::string& name);

// A variable of another process' environment; empty where it has none.
std::string VariableOf(pid_t process, const std::string& name);

}  // namespace annulus::runtime
