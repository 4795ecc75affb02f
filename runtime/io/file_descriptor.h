// An open file that closes itself, and the text of errno.
#pragma once

#include <unistd.h>

#include <string>
#include <system_error>
#include <utility>

namespace annulus::runtime {

class FileDescriptor {
 public:
  FileDescriptor() = default;
  explicit FileDescriptor(int fd) : fd_(fd) {}
  FileDescriptor(FileDescriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~FileDescriptor() {
    if (fd_ >= 0) ::close(fd_);
  }

  int get() const { return fd_; }
  bool is_open() const { return fd_ >= 0; }
  // Gives up ownership, for a caller that wants to see close() fail.
  int Release() { return std::exchange(fd_, -1); }

 private:
  int fd_ = -1;
};

// What `error` (an errno) means, without the shared buffer of strerror.
inline std::string ErrnoText(int error) { return std::generic_category().message(error); }

}  // namespace annulus::runtime
