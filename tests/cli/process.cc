#include "tests/cli/process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string_view>
#include <thread>

namespace annulus::runtime {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

// What launchers set: a test may itself run under one.
bool IsLaunchers(std::string_view entry) {
  for (const char* prefix : {"OMPI_COMM_", "PMI_", "PMIX_", "MPI_LOCAL", "SLURM_"}) {
    if (entry.starts_with(prefix)) return true;
  }
  return false;
}

std::vector<std::string> EnvironmentWith(const Variables& variables) {
  std::vector<std::string> environment;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    if (IsLaunchers(text)) continue;
    if (variables.contains(std::string(text.substr(0, text.find('='))))) continue;
    environment.emplace_back(text);
  }
  for (const auto& [name, value] : variables) environment.push_back(name + "=" + value);
  return environment;
}

std::vector<char*> Pointers(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

struct Pipe {
  Pipe() {
    std::array<int, 2> ends{};
    if (pipe2(ends.data(), O_CLOEXEC) != 0) throw std::runtime_error("pipe2 failed");
    read = ends[0];
    write = ends[1];
  }
  int read = -1;
  int write = -1;
};

// Appends what has come; closes the end and sets it to -1 when there will be no more.
void Drain(int& end, std::string& text) {
  std::array<char, 4096> block;
  const ssize_t bytes = read(end, block.data(), block.size());
  if (bytes > 0) {
    text.append(block.data(), static_cast<size_t>(bytes));
  } else {
    close(end);
    end = -1;
  }
}

// The numbers that are names of directories in /proc.
std::vector<pid_t> Processes() {
  std::vector<pid_t> processes;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const std::string name = entry.path().filename();
    pid_t pid = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (error == std::errc() && end == name.data() + name.size()) processes.push_back(pid);
  }
  return processes;
}

std::string ProcFile(pid_t process, const char* name) {
  std::ifstream file("/proc/" + std::to_string(process) + "/" + name, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// 0 where the process has gone.
pid_t ParentOf(pid_t process) {
  const std::string stat = ProcFile(process, "stat");
  const size_t name_end = stat.rfind(')');
  if (name_end == std::string::npos) return 0;
  std::istringstream fields(stat.substr(name_end + 1));
  std::string state;
  pid_t parent = 0;
  fields >> state >> parent;
  return parent;
}

}  // namespace

Process::Process(const std::vector<std::string>& command, const Variables& variables) {
  Pipe out, err;
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, out.write, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, err.write, STDERR_FILENO);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
  std::vector<std::string> arguments = command;
  std::vector<std::string> environment = EnvironmentWith(variables);
  const int error = posix_spawnp(&pid_, command.at(0).c_str(), &actions, &attributes,
                                 Pointers(arguments).data(), Pointers(environment).data());
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  close(out.write);
  close(err.write);
  out_ = out.read;
  err_ = err.read;
  if (error != 0) throw std::runtime_error("cannot start " + command.at(0));
}

Process::~Process() {
  if (!ended_) {
    Signal(SIGTERM);  // a launcher passes it on to its ranks
    if (!Wait(milliseconds(3000))) Signal(SIGKILL);
    if (!ended_) waitpid(pid_, nullptr, 0);
  }
  for (int end : {out_, err_}) {
    if (end >= 0) close(end);
  }
}

void Process::Signal(int signal) const { kill(-pid_, signal); }

std::optional<Outcome> Process::Wait(milliseconds limit) {
  const Clock::time_point deadline = Clock::now() + limit;
  while (out_ >= 0 || err_ >= 0) {
    std::array<pollfd, 2> ends{{{out_, POLLIN, 0}, {err_, POLLIN, 0}}};
    const auto left = std::chrono::duration_cast<milliseconds>(deadline - Clock::now());
    if (left.count() <= 0) return std::nullopt;
    if (poll(ends.data(), ends.size(), static_cast<int>(left.count())) <= 0) continue;
    if (ends[0].revents != 0) Drain(out_, outcome_.out);
    if (ends[1].revents != 0) Drain(err_, outcome_.err);
  }
  int status = 0;
  rusage usage{};
  while (wait4(pid_, &status, WNOHANG, &usage) == 0) {
    if (Clock::now() >= deadline) return std::nullopt;
    std::this_thread::sleep_for(milliseconds(1));
  }
  ended_ = true;
  outcome_.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  outcome_.peak_resident_bytes = int64_t{usage.ru_maxrss} * 1024;
  return outcome_;
}

std::vector<pid_t> DescendantsCalled(pid_t ancestor, const std::string& name) {
  std::vector<pid_t> found;
  for (const pid_t process : Processes()) {
    if (ProcFile(process, "comm") != name + "\n") continue;
    pid_t parent = process;
    while (parent > 1 && parent != ancestor) parent = ParentOf(parent);
    if (parent == ancestor) found.push_back(process);
  }
  return found;
}

std::string VariableOf(pid_t process, const std::string& name) {
  std::istringstream environment(ProcFile(process, "environ"));
  for (std::string entry; std::getline(environment, entry, '\0');) {
    if (entry.starts_with(name + "=")) return entry.substr(name.size() + 1);
  }
  return {};
}

}  // namespace annulus::runtime
